# shellcheck shell=bash
# bash completion for uringfs(8) and mount.uringfs(8); the options are what `uringfs --help` lists

_uringfs_words() { # every word that may stand behind -o
    uringfs --help 2>/dev/null | awk '
        /^options / { on = 1; next }
        /^mount options: / { on = 0; sub(/^[^:]*: /, ""); gsub(/, /, "\n"); print; next }
        on && /^  / {
            word = $1
            if (sub(/^\[no\]/, "", word)) print "no" word
            value = word
            if (sub(/=.*/, "=", word) && value ~ /\|/) {
                sub(/^[^=]*=/, "", value)
                n = split(value, choice, "|")
                for (i = 1; i <= n; i++) print word choice[i]
            } else print word
        }'
}

_uringfs() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev='' word=''
    ((COMP_CWORD)) && prev=${COMP_WORDS[COMP_CWORD - 1]}
    # the shell splits at "=": put the list behind -o together again
    local line=${COMP_LINE:0:COMP_POINT}
    line=${line##* }
    if [[ $prev == -o || $line == *[=,]* ]]; then
        word=${line##*,}
        mapfile -t COMPREPLY < <(compgen -W "$(_uringfs_words)" -- "$word")
        local head=${line%"$cur"} i
        for i in "${!COMPREPLY[@]}"; do
            COMPREPLY[i]=${line%"$word"}${COMPREPLY[i]}
            COMPREPLY[i]=${COMPREPLY[i]#"$head"}
        done
        compopt -o nospace
    elif [[ $cur == -* ]]; then
        local long=''
        [[ $cur == --* ]] && long=$(_uringfs_words | sed 's/^/--/')
        mapfile -t COMPREPLY < <(compgen -W "-o -f -d -h --help -V --version $long" -- "$cur")
        [[ ${COMPREPLY[0]-} == *= ]] && compopt -o nospace
    else
        mapfile -t COMPREPLY < <(compgen -d -- "$cur")
        compopt -o filenames
    fi
}
complete -F _uringfs uringfs mount.uringfs
