# What a launcher for clusters can see before it starts anything; read by those beside this file, which have `usage`.

# A file of settings is there, can be read, and is not empty.
check_config() { # FILE
  [ -f "$1" ] && [ -r "$1" ] || usage "--config needs a file that can be read, not $1"
  [ -s "$1" ] || usage "--config needs a file of settings; $1 is empty"
}

# A place that another machine reads too: at gs:// (or s3://, hf:// …), seqio:TASK where that may be, or a file or folder.
check_there() { # WHAT PLACE
  case $2 in
    *://?* | seqio:?*) ;;
    '' | seqio:) usage "$1 needs a path, not '$2'" ;;
    *) [ -r "$2" ] || usage "$1 needs a file or folder that can be read, not $2" ;;
  esac
}

check_number() { # WHAT NUMBER
  case $2 in '' | *[!0-9]*) usage "$1 needs a whole number, not $2" ;; esac
  [ "${#2}" -le 9 ] || usage "$1 needs a number below 10^9, not $2"
}

# What Kubernetes and Google Cloud take for a name: a DNS label.
check_name() { # WHAT NAME LONGEST
  case $2 in
    [!a-z]* | *[!a-z0-9-]* | *-) usage "$1 needs lower-case letters, digits and -, a letter first and no - last, not $2" ;;
  esac
  [ "${#2}" -le "$3" ] || usage "$1 needs at most $3 characters, not the ${#2} of $2"
}

check_tools() { # PROGRAM…
  local tool
  for tool in "$@"; do
    command -v "$tool" > /dev/null || usage "the program $tool is needed and not on the PATH"
  done
}
