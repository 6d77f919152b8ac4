"""What kubectl, istioctl, helm and a shell's script are told, and whether something is another after it."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.commands import PROGRAMS, changes, commands_of, meaning, read

LOOKS = [
    "kubectl", "kubectl --help", "kubectl -n bar get pods", "kubectl --namespace bar get pods",
    "kubectl top pods", "kubectl events", "kubectl rollout history deploy/a", "kubectl rollout status deploy/a",
    "kubectl auth can-i get po", "kubectl delete pod a --help", "kubectl delete -h pod a",
    "kubectl apply -f a --dry-run=client", "kubectl delete ns a --dry-run=none --dry-run=server",
    "kubectl label pod a --list", "kubectl set image --local -f a b=c",
    "kubectl apply view-last-applied deploy/a", "kubectl exec a -- kubectl delete pod b",
    "kubectl logs -f deploy/a", "kubectl --warnings-as-errors get pods", "kubectl config view --raw",
    "kubectl get --raw /api", "/a/kubectl get po", "istioctl ps", "istioctl pc routes deploy/a",
    "istioctl pc o deploy/a", "istioctl zc log", "istioctl x describe po a", "istioctl install --dry-run",
    "istioctl install --dry-run=1 -y", "istioctl analyze -A", "istioctl tag show", "istioctl -n install ps",
    "istioctl manifest generate --set profile=demo", "istioctl admin log", "istioctl version -s",
    "helm list -A", "helm ls", "helm template a b --set c=d", "helm get values a", "helm history a",
    "helm show chart a", "helm hist a",
    "helm upgrade a b --dry-run", "helm upgrade a b --dry-run=server --wait", "helm uninstall a --dry-run=client",
    "helm upgrade --help", "helm repo list", "helm status a -n install",
    "curl -X DELETE http://a", "tar xzf a", "bash -c true",
]  # fmt: skip
CHANGES = [
    "kubectl -n foo delete pod x", "kubectl edit deploy a", "kubectl expose deploy a",
    "kubectl rollout undo deploy/a", "kubectl delete pod a -h=false", "kubectl delete pod a --help=false",
    "kubectl delete pod a --dry-run=0", "kubectl apply -f a --dry-run=client --dry-run=none",
    "kubectl --warnings-as-errors delete pod a", "kubectl debug node/a", "kubectl apply -f a",
    "kubectl label pod a b=c --list=false", "kubectl -v 6 delete pod a",
    "kubectl --insecure-skip-tls-verify delete pod get", "kubectl some-plugin",
    "kubectl delete pod a -- --help", "kubectl create --raw /api/v1/namespaces -f a",
    "kubectl -s=http://a delete pod a", "kubectl annotate po a b=c", "istioctl pc o deploy/a --level debug",
    "istioctl proxy-config log deploy/a -r", "istioctl zc o --level=info", "istioctl admin l --level debug",
    "istioctl install --dry-run=0", "istioctl install -y --dry-run=false", "istioctl apply",
    "istioctl manifest apply", "istioctl x unknown", "istioctl waypoint apply", "istioctl uninstall --purge",
    "istioctl tag delete a", "istioctl -c ps uninstall", "istioctl upgrade", "helm install a b",
    "helm -n list uninstall a", "helm upgrade a b --wait", "helm upgrade a b --dry-run=none", "helm delete a",
    "helm rollback a 1", "helm some-plugin", "helm repo add a b", "helm test a", "helm -n=a upgrade -i a b -f c",
    "helm install --wait a b --dry-run=false",
]  # fmt: skip


@pytest.mark.parametrize("command", LOOKS)
def test_what_only_looks_changes_nothing(command):
    assert not changes(shlex.split(command))


@pytest.mark.parametrize("command", CHANGES)
def test_what_changes_something_is_known_by_its_verb_wherever_its_flags_stand(command):
    assert changes(shlex.split(command))


IN_A_SCRIPT = [
    "{}", "cd / && {}", "true; {}", "if {}; then :; fi", "for n in a b; do {}; done", "({})", "echo a | xargs -n 1 {}",
    "env A=b {}", "A=b {} > /dev/null 2>&1", "sudo -E {}", "timeout 5s {}", "kubectl get pods # why\n{}", "# it's\n{}",
    "bash -c '{}'", 'bash -lc "{}"', 'eval "{}"', 'echo "$({})"', "x=`{}`", "kubectl get po -o name \\\n  -A\n{}",
    "cat <<END\nit's\nEND\n{}", "while ! {}; do sleep 1; done", "{} &", "kubectl get po|{}", "! {}",
]  # fmt: skip


@pytest.mark.parametrize("script", IN_A_SCRIPT)
def test_a_script_changes_something_where_one_of_its_commands_does(script):
    assert changes(["bash", "-euo", "pipefail", "-c", script.format("kubectl -n foo delete pod x")])
    assert not changes(["bash", "-euo", "pipefail", "-c", script.format("kubectl -n foo get pod x")])


@pytest.mark.parametrize(
    "script", ["# kubectl delete pod a", "echo kubectl delete pod a", "command -v kubectl", "grep 'kubectl delete' a"]
)
def test_what_only_speaks_of_a_command_is_none(script):
    assert not changes(["bash", "-c", script])


def test_the_words_are_told_by_their_long_names():
    words = read(shlex.split("kubectl -n a logs -fp deploy/b -c=d --tail 3 --since=5m -- e -n f"))
    assert (words.verb, words.arguments, words.inner) == (("logs",), ("deploy/b",), ("e", "-n", "f"))
    assert words.flags == {
        "namespace": ["a"], "follow": [""], "previous": [""], "container": ["d"], "tail": ["3"], "since": ["5m"],
    }  # fmt: skip


def test_an_alias_is_told_in_full():
    assert read(["istioctl", "pc", "o", "deploy/a"]).verb == ("proxy-config", "log")
    assert read(["istioctl", "x", "ps"]).verb == ("experimental", "proxy-status")


VERBS = [(name, verb) for name in PROGRAMS for verb in PROGRAMS[name].verbs]


@given(
    st.sampled_from(VERBS),
    st.lists(st.sampled_from(["-n a", "--namespace=b", "--context c", "-na"]), max_size=3),
    st.lists(st.sampled_from(["-n a", "--namespace=b", "--context c", "x"]), max_size=3),
)
def test_what_a_verb_does_does_not_hang_on_the_flags_around_it(verb, before, after):
    program, name = verb
    words = shlex.split(" ".join([*before, name]))
    assert read([program, *words]).effect is read([program, name]).effect
    if not isinstance(PROGRAMS[program].verbs[name], dict):
        assert read([program, *words, *shlex.split(" ".join(after))]).effect is read([program, name]).effect


@given(st.sampled_from(sorted(PROGRAMS)), st.lists(st.text(max_size=12), max_size=6))
def test_any_words_can_be_read(program, words):
    assert changes([program, *words]) in (True, False)


@given(st.text(alphabet="kubectl delete'\"$()`;|&<>\n#\\-c", max_size=60))
def test_any_script_can_be_read(script):
    assert all(commands_of(script))


# -- what a command comes to ------------------------------------------------------------------------------
SAME = [
    ("kubectl get pods", "kubectl -n default get po", "kubectl get pod --namespace=default", "/bin/kubectl get pods"),
    ("kubectl delete vs reviews", "kubectl delete virtualservices.networking.istio.io/reviews",
     "kubectl delete virtualservice reviews -n default"),
    ("kubectl apply -f a.yaml -f b.yaml", "kubectl apply --filename ./b.yaml --filename=a.yaml",
     "kubectl create -f b.yaml -f a.yaml"),
    ("kubectl label ns default istio-injection=enabled", "kubectl label namespace/default istio-injection=enabled"),
    ("kubectl delete pod a b", "kubectl delete po/a pods/b"),
    ("kubectl scale deploy x --replicas 2", "kubectl scale --replicas=2 deployment/x"),
]  # fmt: skip
OTHER = [
    ("kubectl delete vs reviews", "kubectl delete vs ratings"),
    ("kubectl delete vs reviews", "kubectl delete dr reviews"),
    ("kubectl delete vs reviews", "kubectl delete vs reviews -n other"), ("kubectl apply -f a", "kubectl delete -f a"),
    ("kubectl get pods", "kubectl get pods -o yaml"), ("kubectl create ns a", "kubectl create ns b"),
    ("kubectl label ns default a=b", "kubectl label ns default a=c"), ("kubectl exec a -- x", "kubectl exec a -- y"),
    ("istioctl install", "istioctl uninstall"),
    ("kubectl scale deploy x --replicas 2", "kubectl scale deploy x --replicas 3"),
]  # fmt: skip


@pytest.mark.parametrize("lines", SAME, ids=lambda lines: lines[0])
def test_what_is_written_otherwise_means_the_same(lines):
    assert len({meaning(shlex.split(line)) for line in lines}) == 1


@pytest.mark.parametrize("lines", OTHER, ids=lambda lines: " | ".join(lines))
def test_what_does_another_thing_means_another(lines):
    assert len({meaning(shlex.split(line)) for line in lines}) == 2


def test_other_programs_have_no_meaning_here():
    assert meaning(["bash", "-c", "kubectl get pods"]) is None
