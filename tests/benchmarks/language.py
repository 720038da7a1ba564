"""Accuracy on `stdlib-docs`: methods at ε = ∞, 8, 3 and 1, the ceiling without privacy, and a bag of words.

    python -m tests.benchmarks.language
    python -m tests.benchmarks.language --epsilon 3 --methods la-lora head-only --reported-seeds 0 1

How rates are chosen: `tests/benchmarks/study.py`. A run takes about 20 seconds of one core, so one seed chooses, and
all of it is some 200 runs. The ceiling is one client with all sentences and no noise; the bag of words is TF-IDF with
logistic regression, not private either. The sentences are this Python's: compare numbers of one version only.
"""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.study import Study

#: The head takes up most of a clipped gradient here, so that an adapter asks for far larger rates than on `digits`.
STUDY = Study(
    command="python -m tests.benchmarks.language",
    task="stdlib-docs",
    results=Path(__file__).parent / "results" / "language.jsonl",
    rates={
        "inf": (20.0, 40.0, 80.0, 160.0, 320.0),
        "8": (0.5, 2.0, 8.0, 32.0),
        "3": (0.25, 1.0, 4.0, 16.0),
        "1": (0.03125, 0.125, 0.5, 2.0, 8.0),
    },
    head_rates={
        "inf": (0.5, 2.0, 8.0),
        "8": (0.5, 1.0, 2.0, 4.0),
        "3": (0.25, 0.5, 1.0, 2.0),
        "1": (0.125, 0.25, 0.5, 1.0),
    },
    tuning_seeds=dict.fromkeys(("inf", "8", "3", "1"), (5,)),
    # At 40, the best of eight clients, one alone ended at .281 (mean of seeds 0 to 2), so it has a grid of its own.
    alone=("dp-lora", (2.5, 5.0, 10.0, 20.0, 40.0)),
)


def bag_of_words() -> tuple[float, float]:
    """Accuracy of TF-IDF with logistic regression on the same split, and of the commonest subject."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from lalora_kit.tasks.embedded.stdlib_docs import splits

    (texts, labels), (test, truth) = (([s.text for s in side], [s.subject for s in side]) for side in splits())
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000)).fit(texts, labels)
    return float(model.score(test, truth)), max(truth.count(subject) for subject in set(truth)) / len(truth)


if __name__ == "__main__":
    STUDY.main(__doc__)
    words, commonest = bag_of_words()
    print(f"TF-IDF with logistic regression {words:.3f}; the commonest subject {commonest:.3f}")
