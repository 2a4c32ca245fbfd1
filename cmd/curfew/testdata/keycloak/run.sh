#!/bin/sh
# Runs Keycloak in the folder that is the first argument, with the others as its
# options, until it ends or standard input does: that ends with the test, however
# the test ends, so that Keycloak never outlives it.
home=$1
shift
exec 3<&0
"$home/bin/kc.sh" start-dev "$@" </dev/null 3<&- &
keycloak=$!
{
  cat <&3
  kill "$keycloak" # kc.sh hands it on to Java
} >/dev/null 2>&1 &
exec 3<&-
wait "$keycloak"
