# shellcheck shell=bash disable=SC2016 # shells of their own expand these, and backticks are markdown
begin start 'Start-up' 'The time from nothing to the end of a program that does nothing.'
contest true 'true' --base --loops 20 -- true
contest autoxen 'autoxen --version' --ours --loops 20 -- "$autoxen" --version
contest debugfs 'debugfs -V' --loops 20 -- debugfs -V
race
value file "$(stat -c %s "$autoxen")"
# A binary that is stripped has no table of symbols.
value symbols "$(readelf -SW "$autoxen" | grep -c '\.symtab')"
target '`autoxen --version` against `true`' 'wall:autoxen / wall:true' '<=' 1.3 x
target 'the program, one file' 'value:file' '<=' 8388608 MiB
target 'tables of symbols in it' 'value:symbols' '<=' 0 ''
