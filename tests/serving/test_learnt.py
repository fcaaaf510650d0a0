"""Two first questions at one time do not end the process."""

import subprocess
import sys

SCRIPT = """
import sys
import msgspec
from serving.{module} import {cls}
from serving.learnt import learn

{learn}
asked = []
sys.setprofile(lambda frame, event, of: asked.append(frame.f_code.co_name))
for struct in ({cls}, tuple[{cls}, ...]):
    msgspec.json.Decoder(struct)
sys.setprofile(None)
print(asked.count("get_class_annotations"))
"""


def learnt_by(learn: str, module: str, cls: str) -> int:
    """How many classes msgspec looks at when a new process decodes something."""
    script = SCRIPT.format(learn=learn, module=module, cls=cls)
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(said.stdout)


def test_nothing_is_left_to_learn_when_threads_decode() -> None:
    """msgspec looks at a class when it first decodes one, and a second thread that does so meanwhile ends the
    process: a worker died when two journeys asked at once, right after a start, whether they may send."""
    assert learnt_by("", "situation", "Rules") > 5, "what is looked for here can be seen"
    for module, cls in (
        ("situation", "Rules"),
        ("answer_types", "DecisionAnswer"),
        ("sealing", "Sealed"),
        ("cards", "ModelCard"),
    ):
        assert learnt_by("learn()", module, cls) == 0, cls
