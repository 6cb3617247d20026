#!/bin/bash
# Prepares the quick start and boots it under Xen. Needs target/release/autoxen; called by tests/run.
set -euo pipefail

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/real/bundle.sh
. "$project/tests/real/bundle.sh"
work=$project/target/real/quickstart
log=$project/target/real/quickstart.log
rm -rf "$work"
mkdir -p "$work"

autoxen prepare "$project/fixtures/quickstart/job.xml" -o "$work/bundle"
boot "$work/bundle" "$log" 120
expect "$log" 'Hello from quickstart, Linux 6.1.0-56-amd64'
expect "$log" 'Made ready by AutoXen.'
expect "$log" 'xenjobs: /etc/xenjobs.d/10-hello ended with status 0'
expect "$log" 'The sum of 1 to 100 is 5050'
expect "$log" 'xenjobs: /etc/xenjobs.d/11-sum ended with status 0'

# The guest wrote to its disk and left it sound.
for disk in "$work"/bundle/*.img; do e2fsck -fn "$disk"; done
rm -rf "$work"
