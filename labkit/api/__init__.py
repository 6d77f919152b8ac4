"""The course's own Kubernetes endpoint on 127.0.0.1, which commands, and the course itself, are led to by a kubeconfig.

Before a cluster that others run (`access`, `relay`, `policy`, `guard`) it lets through what `policy` allows, with the
reader's credentials, which it alone holds. Without a cluster (`recorded`, `views`, `serving`) it answers whoever looks
from a state that was written down.
"""
