#!/bin/sh
# The guest's side of power_failure.py: does what the host says, until the host cuts the power.
. /guest.sh

# The program that keeps its promises: the control, or the one on the library.
program=$(ls /payload/*bank_program)

# Each line: a label, and the path of what is kept there.
media="dax /mnt/dax/bank
paged /mnt/paged/bank"

# each_medium COMMAND [ARGUMENT]: runs every program with it, in turn.
each_medium() {
  echo "$media" | while read -r label path; do
    "$program" "$1" "$path" "$label" $2 || echo "@@BROKEN $label $1 ended with status $?"
  done
}

mount_both() {
  mkdir -p /mnt/dax /mnt/paged
  mount -t ext4 -o dax=always /dev/pmem0 /mnt/dax && mount -t ext4 -o dax=never /dev/pmem1 /mnt/paged
}

format() {
  mount_dax 0 /mnt/dax && mount_paged 1 /mnt/paged || return 1
  each_medium create "$1"
  umount /mnt/dax /mnt/paged
  # The host keeps this state of the machine's memory and lets the media go on changing: what is
  # remembered of them here would be stale at the next start.
  echo 3 >/proc/sys/vm/drop_caches
}

echo "@@READY"
while read -r command argument; do
  case $command in
    format) format "$argument" && echo "@@FORMATTED" ;;
    recover)
      mount_both && echo "@@MOUNTED"
      each_medium recover "$argument"
      echo "@@RECOVERED"
      ;;
    run)
      echo "$media" | while read -r label path; do
        "$program" run "$path" "$label" "$argument" &
      done
      ;;
    *) echo "@@BROKEN suite unknown command $command" ;;
  esac
done
