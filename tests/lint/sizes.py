#!/usr/bin/python3
"""Files of at most 600 lines, functions of at most 60.

The tolerance: up to 700 and 80 is listed but passes, since a forced cut can read worse than ten lines more;
beyond that it fails. A test file is a list of cases, and its main() a list of them: 900 lines, and any main().
"""

from sources import c_files, report, text_of

FILE_LINES, FILE_LIMIT, TEST_FILE_LIMIT = 600, 700, 900
FUNCTION_LINES, FUNCTION_LIMIT = 60, 80


def functions(lines):
    """(line number, header, lines) of each function: by our format its braces, and no others, are alone in
    the first column."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            header = start - 1
            while header > 1 and lines[header - 1][:1] in ("\t", " "):
                header -= 1
            yield header, lines[header - 1], number - start + 1
            start = None


def main():
    findings, listed = [], []
    for path in c_files("src", "tests", "bench"):
        lines = text_of(path).splitlines()
        limit = TEST_FILE_LIMIT if path.startswith("tests/") else FILE_LIMIT
        if len(lines) > FILE_LINES:
            (findings if len(lines) > limit else listed).append(f"{path}: {len(lines)} lines")
        for number, header, length in functions(lines):
            if path.startswith("tests/") and header.startswith("int main("):
                continue
            if length > FUNCTION_LINES:
                (findings if length > FUNCTION_LIMIT else listed).append(
                    f"{path}:{number}: {length} lines: {header}")
    for line in listed:
        print(f"within the tolerance: {line}")
    report(findings, f"no file beyond {FILE_LIMIT} lines, no function beyond {FUNCTION_LIMIT}")


main()
