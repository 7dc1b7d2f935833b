# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Several sqlite3 processes that write to one database. Whoever sources this defines sqlite_fail.

# shellcheck disable=SC2034
sqlite_writers=4
sqlite_rounds=25
sqlite_rows=40

# sqlite_run DATABASE STATEMENTS...
sqlite_run()
{
    local said
    said=$(timeout 100 sqlite3 -bail -cmd '.timeout 60000' "$@" 2>&1) || sqlite_fail "sqlite3: $said"
    printf '%s\n' "$said"
}

# sqlite_begin DATABASE JOURNAL: an empty table, with a journal of that kind.
sqlite_begin()
{
    local journal
    journal=$(sqlite_run "$1" "PRAGMA journal_mode=$2; PRAGMA synchronous=NORMAL;")
    [ "$journal" = "$2" ] || sqlite_fail "no journal_mode=$2 here: $journal"
    sqlite_run "$1" "DROP TABLE IF EXISTS t;
        CREATE TABLE t(id INTEGER PRIMARY KEY, writer INT, round INT, data TEXT);
        CREATE INDEX by_data ON t(data);"
}

# sqlite_write DATABASE WRITER: transactions of $sqlite_rows rows each, some taken back.
sqlite_write()
{
    local round
    for round in $(seq $sqlite_rounds); do
        cat <<SQL
BEGIN IMMEDIATE;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $sqlite_rows)
INSERT INTO t(writer, round, data) SELECT $2, $round, hex(randomblob(100 + i)) FROM n;
COMMIT;
BEGIN IMMEDIATE;
DELETE FROM t WHERE writer = $2;
ROLLBACK;
UPDATE t SET data = data || 'x' WHERE writer = $2 AND round = $round AND id % 7 = 0;
SQL
    done | timeout 200 sqlite3 -bail -cmd '.timeout 60000' "$1"
}

# sqlite_write_together DATABASE FIRST LAST LOGS: the writers FIRST to LAST at once; LOGS is a folder for what they say.
sqlite_write_together()
{
    local writer pid pids=()
    for writer in $(seq "$2" "$3"); do
        sqlite_write "$1" "$writer" 2>"$4/writer$writer.log" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || sqlite_fail "a writer: $(cat "$4"/writer*.log)"
    done
}

# sqlite_sum DATABASE WRITERS: prints a line that says what is in it, having checked that it is whole and that every
# row of so many writers is there.
sqlite_sum()
{
    local sum
    sum=$(sqlite_run "$1" "SELECT count(*), sum(length(data)), count(DISTINCT writer) FROM t; PRAGMA integrity_check;")
    [ "${sum%%|*}" = $(($2 * sqlite_rounds * sqlite_rows)) ] || sqlite_fail "rows are missing: $sum"
    [ "${sum##*$'\n'}" = ok ] || sqlite_fail "integrity_check: $sum"
    printf '%s\n' "${sum%%$'\n'*}"
}
