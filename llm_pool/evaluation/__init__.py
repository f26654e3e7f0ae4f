"""
Which model, and which strategy, on a person's own questions.

::

    questions.jsonl ─questions─▶ Question ─recording─▶ answers.jsonl      every provider asked once, judges once
                                              │  tape: what a backend said, and the same said again
                                              ▼
                              replay: the pool itself, in virtual time, on what was recorded ─▶ Outcome
                                              │  learning: trust from labelled questions; folds: from other ones
                                              ▼
    scores ─▶ right or wrong ─▶ figures ─▶ recommendation ─▶ report: Markdown, HTML, JSON;  applying: a diff

Intervals and sample sizes are pure rules in ``intervals`` and ``power``. Nothing here asks a model but ``recording``.
"""
