#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# lock-stress.sh FOLDER SECONDS STRESSOR...: stress-ng's stressors of locks, two of each. All must end by themselves and
# leave nothing behind.

set -u
folder=$1
seconds=$2
shift 2
mkdir -p "$folder"
# shellcheck disable=SC2046 # words
timeout -k 10 $((seconds * 4 + 60)) stress-ng $(printf -- '--%s 2 ' "$@") --timeout "${seconds}s" \
    --temp-path "$folder" --verify || exit 1
[ -z "$(ls -A "$folder")" ]
