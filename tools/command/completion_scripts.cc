#include "tools/command/completion.h"

namespace strata::inline v0_1::tools {
namespace {

// The scripts ask `strata __complete`, which prints a candidate a line, then a tab and its help;
// the line ":files" stands for the names of files.

constexpr std::string_view kBash = R"bash(# Completion of strata for bash.
_strata() {
  COMPREPLY=()
  local program=${1:-strata} one answer
  type -P -- "$program" >/dev/null 2>&1 || program=strata
  answer=$("$program" __complete --word-breaks "$COMP_WORDBREAKS" \
    --line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null </dev/null)
  while IFS= read -r one; do
    one=${one%%$'\t'*}
    if [[ $one == :files ]]; then
      # Where compgen finds nothing, within quotes or behind a tilde, readline goes on by itself.
      compopt -o filenames -o default 2>/dev/null
      while IFS= read -r one; do
        COMPREPLY+=("$one")
      done < <(compgen -f -- "$2")
    elif [[ -n $one ]]; then
      COMPREPLY+=("$one")
      # More of the same word follows.
      [[ $one == *[:=#] ]] && compopt -o nospace 2>/dev/null
    fi
  done <<<"$answer"
  return 0
}
complete -F _strata strata
)bash";

constexpr std::string_view kZsh = R"zsh(#compdef strata
# Completion of strata for zsh.
_strata() {
  local one wants_files=
  local -a names shown unfinished unfinished_shown
  for one in "${(@f)$(strata __complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" \
    2>/dev/null </dev/null)}"; do
    local name=${one%%$'\t'*} text=${one#*$'\t'}
    if [[ $name == :files ]]; then
      wants_files=yes
    elif [[ $name == *[:=\#] ]]; then
      unfinished+=("$name")
      unfinished_shown+=("$name${text:+  $text}")
    elif [[ -n $name ]]; then
      names+=("$name")
      shown+=("$name${text:+  $text}")
    fi
  done
  (( $#unfinished )) && compadd -S '' -l -d unfinished_shown -a unfinished
  (( $#names )) && compadd -l -d shown -a names
  [[ -n $wants_files ]] && _files
  return 0
}
if [[ ${funcstack[1]} == _strata ]]; then
  _strata "$@"
else
  compdef _strata strata
fi
)zsh";

constexpr std::string_view kFish = R"fish(# Completion of strata for fish.
function __strata_complete
    set -l words (commandline -opc)
    for one in (strata __complete -- $words[2..-1] (commandline -ct) 2>/dev/null </dev/null)
        if test "$one" = :files
            __fish_complete_path (commandline -ct)
        else
            echo $one
        end
    end
end
complete -c strata -f -a '(__strata_complete)'
)fish";

}  // namespace

std::string_view completion_script(std::string_view shell) {
  if (shell == "bash") return kBash;
  if (shell == "zsh") return kZsh;
  if (shell == "fish") return kFish;
  return {};
}

}  // namespace strata::inline v0_1::tools
