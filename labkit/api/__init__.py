"""The course's own Kubernetes endpoint on 127.0.0.1: the way into a cluster that others run.

Commands, and the course itself, are given a kubeconfig that names it. It lets through what `policy` allows, with
the reader's credentials, which it alone holds.
"""
