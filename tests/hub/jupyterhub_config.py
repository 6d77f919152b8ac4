# ruff: noqa: F821
"""A hub from manifests/hub/values.yaml: the part of the chart's own configuration that those values speak of."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from z2jh import get_config

TRAITS = {
    "cmd": "cmd", "cpu.guarantee": "cpu_guarantee", "cpu.limit": "cpu_limit", "defaultUrl": "default_url",
    "extraEnv": "environment", "extraLabels": "extra_labels", "memory.guarantee": "mem_guarantee",
    "memory.limit": "mem_limit", "profileList": "profile_list", "startTimeout": "start_timeout",
    "allowPrivilegeEscalation": "allow_privilege_escalation",
}  # fmt: skip

c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
c.JupyterHub.bind_url = "http://:8000"
c.JupyterHub.hub_bind_url = "http://:8081"
c.JupyterHub.hub_connect_url = "http://hub:8081"
c.JupyterHub.cleanup_servers = False  # as the chart has it: a hub that restarts finds its servers again
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.ConfigurableHTTPProxy.command = ["node", "/opt/chp/node_modules/configurable-http-proxy/bin/configurable-http-proxy"]
for section, settings in get_config("hub.config", {}).items():
    c[section].update(settings)
for path, trait in TRAITS.items():
    if (value := get_config(f"singleuser.{path}")) is not None:
        setattr(c.KubeSpawner, trait, value)
c.KubeSpawner.image = f"{get_config('singleuser.image.name')}:{get_config('singleuser.image.tag')}"
c.KubeSpawner.image_pull_policy = "IfNotPresent"
c.KubeSpawner.namespace = "hub"
c.KubeSpawner.extra_labels = {"hub.jupyter.org/network-access-hub": "true"}
c.KubeSpawner.uid, c.KubeSpawner.fs_gid = 1000, 100
c.KubeSpawner.automount_service_account_token = False
if get_config("cull.enabled"):
    culler = ["python3", "-m", "jupyterhub_idle_culler", f"--timeout={get_config('cull.timeout')}",
              f"--cull-every={get_config('cull.every')}"]  # fmt: skip
    c.JupyterHub.services = [{"name": "cull", "command": culler}]
    scopes = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
    c.JupyterHub.load_roles = [{"name": "cull", "services": ["cull"], "scopes": scopes}]
for name, code in sorted(get_config("hub.extraConfig", {}).items()):
    exec(compile(code, name, "exec"), {"c": c})  # noqa: S102
