"""A prediction's question with its choices as buttons: a click answers, and so do Tab and Enter."""

from __future__ import annotations

from typing import Any

from labkit.course import predictions
from labkit.course.predictions import Question


def show(question: Question) -> None:
    """Draw the question in the cell's output, with a button for each choice."""
    from IPython.display import display
    from ipywidgets import HTML, Button, Layout, VBox

    text = HTML(question._repr_html_())
    buttons = [Button(description=choice, layout=Layout(width="auto")) for choice in question.asked.choices]

    def clicked(button: Any) -> None:
        text.value = predictions.ask(question.number, question.asked, button.description)._repr_html_()
        for each in buttons:
            each.button_style = "primary" if each is button else ""

    for button in buttons:
        button.on_click(clicked)
    display(VBox([text, *buttons]))
