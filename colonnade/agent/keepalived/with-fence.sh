# SPDX-License-Identifier: Apache-2.0
# with-fence.sh FIFO NFT UP DOWN KEEPALIVED...: run keepalived, and beside it what moves the fence of
# a half as keepalived says what the half is. It ends with keepalived, and not with the agent.
set -eu
fifo=$1 nft=$2 up=$3 down=$4
shift 4
rm -f "$fifo"
mkfifo -m 600 "$fifo"
# A line is: INSTANCE "pair" MASTER 250. The end of the file comes when keepalived reads its own anew.
setpriv --pdeathsig=KILL -- sh -c '
    while :; do
        while read -r _ _ role _; do
            if [ "$role" = MASTER ]; then file=$4; else file=$3; fi
            "$2" --json --file "$file"
        done < "$1"
    done' sh "$fifo" "$nft" "$up" "$down" &
exec "$@"
