"""Pages at 127.0.0.1:8080 through the hub: what they say of their own server's root is below /user/NAME/proxy/8080."""

import re

PLACE = re.compile(r".*?/proxy/(?:absolute/)?8080(?=/)")
ROOTED = re.compile(rb"""((?:href|src|action)\s*=\s*["'])/(?!/)""")


def below_the_hub(response, port, request):
    place = PLACE.match(request.path)
    if int(port) != 8080 or not place:
        return
    if response.headers.get("Location", "").startswith("/"):
        response.headers["Location"] = place[0] + response.headers["Location"]
    if response.headers.get("Content-Type", "").startswith("text/html"):
        response.body = ROOTED.sub(rb"\g<1>" + place[0].encode() + b"/", response.body)


c.ServerProxy.non_service_rewrite_response = below_the_hub  # noqa: F821
c.MappingKernelManager.cull_idle_timeout = 3600  # noqa: F821
c.MappingKernelManager.cull_interval = 300  # noqa: F821
