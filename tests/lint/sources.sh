# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Which files the checks of this folder look at. Sourced by them; leaves them in the top folder.

cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 99

# Every file of the project, one a line: what git follows, or without git what is not built or fetched.
sources_list()
{
    git ls-files --cached --others --exclude-standard 2>/dev/null | grep . ||
        find . -type f ! -path './.git/*' ! -path './build*' ! -path '*/cache/*' ! -path './.cache/*' |
        sed 's,^\./,,'
}

# Only those that still are there, with a name that matches the regular expression.
sources_matching()
{
    local file
    sources_list | grep -E "$1" | while read -r file; do
        [ -f "$file" ] && echo "$file"
    done
}

# sources_scripts INTERPRETER: scripts for it (a regular expression), with the suffix .sh or without any.
sources_scripts()
{
    local file
    sources_list | while read -r file; do
        case $file in
        *.sh) grep -q -x -E "$1" <<<sh && echo "$file" ;;
        *.*) ;;
        *) [ -f "$file" ] && head -n 1 "$file" 2>/dev/null | grep -q -a -E "^#!.*[/ ]$1\$" && echo "$file" ;;
        esac
    done
}

sources_require()
{
    command -v "$1" >/dev/null && return 0
    echo "skip: $1 is missing (contrib/install-deps test)"
    exit 77
}

# sources_report WHAT: fails when its input has lines, and shows them.
sources_report()
{
    local found
    found=$(cat)
    [ -z "$found" ] && exit 0
    printf 'FAILED: %s\n%s\n' "$1" "$found"
    exit 1
}
