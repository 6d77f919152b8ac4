"""The words of kubectl's, istioctl's and helm's commands: what one is told, and whether something changes by it.

>>> changes(["kubectl", "--namespace", "bar", "get", "pods"])
False
>>> changes(["bash", "-c", "kubectl -n foo delete pod x"])
True
"""

from labkit.commands.meaning import Meaning, meaning
from labkit.commands.script import commands_of
from labkit.commands.words import PROGRAMS, Words, changes, read

__all__ = ["PROGRAMS", "Meaning", "Words", "changes", "commands_of", "meaning", "read"]
