#!/bin/sh
# What is installed beside the command and says the same as it, since it is asked: manual pages and
# completion for shells.
#
# usage: write_texts.sh COMMAND FOLDER     FOLDER is what is installed as PREFIX/share
set -eu
command=$1
folder=$2
mkdir -p "$folder/man/man1" "$folder/bash-completion/completions" "$folder/zsh/site-functions" \
  "$folder/fish/vendor_completions.d"
"$command" man --into "$folder/man/man1" >/dev/null
"$command" completion bash >"$folder/bash-completion/completions/strata"
"$command" completion zsh >"$folder/zsh/site-functions/_strata"
"$command" completion fish >"$folder/fish/vendor_completions.d/strata.fish"
