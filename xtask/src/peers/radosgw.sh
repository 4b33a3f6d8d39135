#!/bin/sh
# A Ceph cluster of one monitor and one OSD with a radosgw before it, in a folder of its own, for a comparison.
#
#   radosgw.sh FOLDER MON_PORT S3_PORT
#
# Needs Debian's packages radosgw, ceph-mon, ceph-osd and ceph-common. Serves user AKBENCH / secret SKBENCH on
# 127.0.0.1:S3_PORT, prints "ready PID PID PID" (radosgw, OSD, monitor) and waits; at its end, however it ends, the
# three are gone. One copy of each object, BlueStore in a file.
set -eu
folder=$1 mon_port=$2 s3_port=$3
mkdir -p "$folder/mon" "$folder/osd" "$folder/run"
cd "$folder"
fsid=$(cat /proc/sys/kernel/random/uuid) osd_id=$(cat /proc/sys/kernel/random/uuid)
cat > ceph.conf <<CONF
[global]
fsid = $fsid
mon host = v2:127.0.0.1:$mon_port
mon initial members = a
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = $folder/run
admin socket = $folder/run/\$name.\$pid.asok
log file = $folder/\$name.log
pid file =
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data = $folder/mon
osd data = $folder/osd
osd objectstore = bluestore
bluestore block size = 17179869184
keyring = $folder/keyring
debug rgw = 0
debug ms = 0
CONF
export CEPH_CONF="$folder/ceph.conf"
radosgw='' osd='' mon=''
end() {
    trap - EXIT INT TERM
    for pid in $radosgw $osd $mon; do kill -KILL "$pid" 2>/dev/null || true; done
    exit "${1:-0}"
}
trap 'end 1' INT TERM
trap 'end $?' EXIT
ceph-authtool --create-keyring keyring --gen-key -n mon. --cap mon 'allow *' >setup.log
ceph-authtool keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *' >>setup.log
monmaptool --create --addv a "[v2:127.0.0.1:$mon_port]" --fsid "$fsid" monmap >>setup.log
ceph-mon --mkfs -i a --monmap monmap --keyring keyring >>setup.log 2>&1
ceph-mon -i a -f >mon.out 2>&1 &
mon=$!
timeout 60 ceph osd new "$osd_id" >>setup.log 2>&1
timeout 60 ceph auth get-or-create osd.0 mon 'allow profile osd' osd 'allow *' mgr 'allow profile osd' >>keyring
ceph-osd -i 0 --mkfs --osd-uuid "$osd_id" >>setup.log 2>&1
ceph-osd -i 0 -f >osd.out 2>&1 &
osd=$!
timeout 120 radosgw-admin user create --uid bench --display-name bench --access-key AKBENCH --secret-key SKBENCH >>setup.log 2>&1
radosgw -n client.admin -f --rgw_frontends="beast endpoint=127.0.0.1:$s3_port" >rgw.out 2>&1 &
radosgw=$!
tries=0
until curl -s -o /dev/null "http://127.0.0.1:$s3_port/"; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] || { echo "radosgw does not answer; see $folder" >&2; exit 1; }
    sleep 0.2
done
echo "ready $radosgw $osd $mon"
wait "$radosgw"
