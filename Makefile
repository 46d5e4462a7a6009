# Each target makes its own virtual environment; the README gives the same commands without make.
PYTHON ?= python3

.PHONY: demo test lint docs benchmark clean

demo:
	$(PYTHON) -m venv .venv
	.venv/bin/pip install --quiet -c constraints.txt '.[torch]'
	.venv/bin/python -m mfu_profiler demo

test:
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/pip install --quiet -c constraints.txt -e '.[torch,test]'
	.venv-test/bin/python -m pytest -n auto

lint:
	$(PYTHON) -m venv .venv-test
	.venv-test/bin/pip install --quiet -c constraints.txt -e '.[torch,test,lint]'
	.venv-test/bin/ruff check .
	.venv-test/bin/ruff format --check .
	.venv-test/bin/mypy

docs:
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/pip install --quiet -c constraints.txt '.[docs]'
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --quiet

benchmark:
	$(PYTHON) -m venv .venv-benchmark
	.venv-benchmark/bin/pip install --quiet -e '.[test,benchmark]'
	.venv-benchmark/bin/python -m pytest -m benchmark -s

clean:
	rm -rf .venv .venv-plain .venv-test .venv-docs .venv-benchmark build/site
