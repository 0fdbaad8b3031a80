import traceback

import pytest
from mock_servers.doc_examples import find_examples, run_page

MARKDOWN = """\
# A page

```python
import asyncio
total = given + 1
```

Text with `code`.

```console
$ rm -rf nothing
```

1. In a list:

   ```{code-block} python
   await asyncio.sleep(0)
   for n in range(2):
       print("n", n, object())
   ```
   ```output
   n 0 <object ...>
   n 1 <object ...>
   ```

<!-- example: not run -->
```python
raise SystemExit
```

```pycon
>>> total
6
>>> total + 1
7
```

~~~
no language
~~~
"""

RST = """\
Title
=====

Install it::

    pip install it

Then

::

    total = given + 1
    if total:

        total += 1

and

.. code-block:: python
   :linenos:

   done = total

.. example: not run

.. code-block:: python

   raise SystemExit

.. note::

   Not code.
"""


@pytest.fixture
def page(tmp_path):
    def write(text, suffix=".md"):
        path = tmp_path / f"page{suffix}"
        path.write_text(text)
        return path

    return write


def test_the_python_blocks_of_a_markdown_page_run_in_order_in_one_namespace(page):
    namespace = {"given": 5}
    assert run_page(page(MARKDOWN), namespace) == 3
    assert namespace["total"] == 6


def test_rst_literal_blocks_run_where_asked_for(page):
    namespace = {"given": 5}
    ran = run_page(
        page(RST, ".rst"),
        namespace,
        languages=("python", ""),
        skip=lambda example: "pip install" in example.source,
    )
    assert ran == 2
    assert namespace["done"] == 7


def test_examples_know_where_they_stand(page):
    found = find_examples(page(MARKDOWN))
    assert [(example.line, example.language) for example in found] == [
        (4, "python"),
        (11, "console"),
        (17, "python"),
        (28, "python"),
        (32, "pycon"),
        (39, ""),
    ]
    assert [example.skipped for example in found] == [False, False, False, True, False, False]


def test_another_output_fails_and_shows_both(page):
    with pytest.raises(AssertionError, match=r"(?s)printed.*one.*should have printed.*two"):
        run_page(page("```python\nprint('one')\n```\n\n```output\ntwo\n```\n"))


def test_another_answer_in_a_session_fails(page):
    with pytest.raises(AssertionError, match=r"(?s)Expected.*3.*Got.*2"):
        run_page(page("```pycon\n>>> 1 + 1\n3\n```\n"))


def test_a_failing_example_names_page_and_line(page):
    path = page("text\n\n```python\nx = 1\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as caught:
        run_page(path)
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == (str(path), 5)


def test_a_page_without_examples_runs_none(page):
    assert run_page(page("# Nothing\n")) == 0
