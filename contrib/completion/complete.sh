# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# shellcheck disable=SC2154 # _outboard_rows is what the files begin with
#
# What follows is the same in every file. A line of rows is CONTEXT WORD VALUE. CONTEXT: "." or a subcommand
# (the words of its options), or one of these, ":" and an option that takes a list (the keys of the list).
# WORD: as it is typed; "<>" stands for what is no option. VALUE: "-" (it takes none), COMMAND (it is a
# subcommand), or alternatives divided by "|": words in small letters are meant as they are, others name kinds
# of values (_outboard_value).

# _outboard_rows_of CONTEXT: lines WORD VALUE.
_outboard_rows_of()
{
    local context word value
    while read -r context word value; do
        [ "$context" != "$1" ] || printf '%s %s\n' "$word" "$value"
    done <<<"${_outboard_rows[$program]}"
}

# _outboard_find CONTEXT WORD: what it takes; nothing where it is not known. With more rows, all of them.
_outboard_find()
{
    local word value all=
    while read -r word value; do
        [ "$word" != "$2" ] || all+=${all:+|}$value
    done < <(_outboard_rows_of "$1")
    printf '%s' "$all"
}

# _outboard_add PREFIX ARGUMENT...: what compgen finds, with PREFIX before it.
_outboard_add()
{
    local prefix=$1 found
    shift
    while read -r found; do
        COMPREPLY+=("$prefix$found")
    done < <(compgen "$@")
}

# _outboard_value VALUE PREFIX TYPED: what may stand there.
_outboard_value()
{
    local kind kinds
    IFS='|' read -r -a kinds <<<"$1"
    for kind in "${kinds[@]}"; do
        case $kind in
        NAME) # of an image behind another
            [ "$program" != vblk-img ] || _outboard_value FILE "$2" "$3"
            ;;
        PATH | FILE | IMAGE | SOURCE)
            compopt -o filenames 2>/dev/null
            _outboard_add "$2" -f -- "$3"
            ;;
        DIR)
            compopt -o filenames 2>/dev/null
            _outboard_add "$2" -d -- "$3"
            ;;
        unix:PATH)
            [[ $3 != unix:* ]] || compopt -o filenames 2>/dev/null
            [[ $3 == unix:* ]] || _outboard_add "$2" -W unix: -- "$3"
            [[ $3 != unix:* ]] || _outboard_add "$2unix:" -f -- "${3#unix:}"
            ;;
        GROUP) _outboard_add "$2" -g -- "$3" ;;
        FORMAT) _outboard_add "$2" -W 'raw qcow2' -- "$3" ;;
        *[!a-z0-9._-]* | '' | -) ;;
        *) _outboard_add "$2" -W "$kind" -- "$3" ;;
        esac
    done
}

# _outboard_words CONTEXT PREFIX TYPED: words of the rows, with = where a value follows.
_outboard_words()
{
    local word value
    while read -r word value; do
        case $word in
        '<>') continue ;;
        -[!-]*) ;; # the value is a word of its own
        *) [ "$value" = - ] || word+="=" ;;
        esac
        [[ $word != "$3"* ]] || COMPREPLY+=("$2$word")
    done < <(_outboard_rows_of "$1")
}

# _outboard_list CONTEXT FIRST TYPED: in a list key=value,key,..., whose first item may be one of FIRST.
_outboard_list()
{
    local prefix=${3%"${3##*,}"} item=${3##*,}
    if [[ $item == *=* ]]; then
        _outboard_value "$(_outboard_find "$1" "${item%%=*}")" "$prefix${item%%=*}=" "${item#*=}"
        return
    fi
    [ -n "$prefix" ] || _outboard_value "$2" "" "$item"
    _outboard_words "$1" "$prefix" "$item"
}

# What a daemon that runs has: its commands, or the keys of one.
_outboard_control()
{
    local socket=$1 command=$2 typed=$3 asked
    asked=$(timeout 2 vblkctl --socket="$socket" help ${command:+"$command"} 2>/dev/null) || return
    if [ -n "$command" ]; then
        _outboard_add "" -W "$(sed -n 's/^    \([a-z][a-z_-]*=\).*/\1/p' <<<"$asked")" -- "$typed"
    else
        _outboard_add "" -W "help $(sed -n 's/^  \([a-z][a-z_-]*\).*/\1/p' <<<"$asked")" -- "$typed"
    fi
}

# The part of a word that readline takes for words of their own is not its to replace.
_outboard_trim()
{
    local typed=$1 breaks='' i
    [[ $COMP_WORDBREAKS != *=* ]] || breaks+='='
    [[ $COMP_WORDBREAKS != *:* ]] || breaks+=':'
    [ -n "$breaks" ] || return
    typed=${typed%"${typed##*["$breaks"]}"}
    for i in "${!COMPREPLY[@]}"; do
        COMPREPLY[i]=${COMPREPLY[i]#"$typed"}
    done
}

# _outboard_positional CONTEXT SOCKET OTHERS...: what is no option and not an option's value.
_outboard_positional()
{
    local context=$1 socket=$2 value
    shift 2
    value=$(_outboard_find "$context" '<>')
    if [ "$value" = CONTROL ]; then
        _outboard_control "$socket" "${1-}" "$current"
    else
        _outboard_value "$value" "" "$current"
    fi
    [ "$context" != . ] || _outboard_add "" -W \
        "$(_outboard_rows_of . | sed -n 's/ COMMAND$//p')" -- "$current"
}

_outboard()
{
    local program=${1##*/} line=${COMP_LINE:0:COMP_POINT} current before word last value
    local context=. socket='' others=()
    COMPREPLY=()
    current=${line##*[[:blank:]]}
    read -r -a before <<<"${line%"$current"}"
    last=
    for word in "${before[@]:1}"; do
        value=
        [[ $last != -* ]] || [[ $last == *=* ]] || value=$(_outboard_find "$context" "$last")
        case $word in
        --socket=*) socket=${word#*=} ;;
        -*) ;;
        *)
            if [ -n "$value" ] && [ "$value" != - ]; then
                [[ $last != -s && $last != --socket ]] || socket=$word
            elif [ "$(_outboard_find . "$word")" = COMMAND ] && [ "$context" = . ]; then
                context=$word
            else
                others+=("$word")
            fi
            ;;
        esac
        last=$word
    done
    value=
    [[ $last != -* ]] || [[ $last == *=* ]] || value=$(_outboard_find "$context" "$last")
    if [[ $current == --*=* ]]; then
        _outboard_value "$(_outboard_find "$context" "${current%%=*}")" "${current%%=*}=" "${current#*=}"
    elif [ -n "$(_outboard_rows_of "$context:$last")" ]; then
        _outboard_list "$context:$last" "$value" "$current"
    elif [ -n "$value" ] && [ "$value" != - ]; then
        _outboard_value "$value" "" "$current"
    elif [[ $current == -* ]]; then
        _outboard_words "$context" "" "$current"
    else
        _outboard_positional "$context" "$socket" ${others[@]+"${others[@]}"}
    fi
    [[ ${#COMPREPLY[@]} -ne 1 || ${COMPREPLY[0]} != *[=:,] ]] || compopt -o nospace 2>/dev/null
    _outboard_trim "$current"
}
