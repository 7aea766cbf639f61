/**
 * Tables of a volume. Ids of inodes and contents and cookies of entries come from one counter, so none is given twice.
 *
 * A content is the bytes of one file: an id of its own, so that cutting a file to nothing, or removing it, is one step
 * however large it is: the extents of the old content are taken apart later (reaper.ts). Bytes [start, start + length)
 * of it are in a segment, from `position + lead` on; `checksums` has the CRC-32 of each page of the `bytes` from
 * `position` on, little endian. What no extent has is a hole, and reads as zeros. A negative segment is −(row in
 * files_blob): a file of an image, without checksums here.
 */
export const tables = `
  CREATE TABLE files_inode (
    ino        INTEGER PRIMARY KEY,
    mode       INTEGER NOT NULL,
    nlink      INTEGER NOT NULL, -- 0: an orphan.
    uid        INTEGER NOT NULL,
    gid        INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    allocated  INTEGER NOT NULL, -- Sum of the lengths of its extents.
    atime      INTEGER NOT NULL,
    atimeNanos INTEGER NOT NULL,
    mtime      INTEGER NOT NULL,
    mtimeNanos INTEGER NOT NULL,
    ctime      INTEGER NOT NULL,
    ctimeNanos INTEGER NOT NULL,
    change     INTEGER NOT NULL,
    content    INTEGER NOT NULL, -- Of a directory its parent.
    tail       INTEGER NOT NULL, -- 1: extents behind the end are still to be taken away.
    target     TEXT              -- Of a symbolic link.
  ) STRICT;
  CREATE INDEX files_inode_by_content ON files_inode (content) WHERE content <> ino AND (mode & 61440) = 32768;
  CREATE TABLE files_entry (
    parent INTEGER NOT NULL,
    name   TEXT NOT NULL,
    ino    INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    cookie INTEGER NOT NULL,
    PRIMARY KEY (parent, name)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX files_entry_by_cookie ON files_entry (parent, cookie);
  CREATE TABLE files_extent (
    content   INTEGER NOT NULL,
    start     INTEGER NOT NULL,
    length    INTEGER NOT NULL,
    segment   INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    lead      INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    checksums BLOB NOT NULL,
    PRIMARY KEY (content, start)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX files_extent_by_segment ON files_extent (segment) WHERE segment > 0;
  CREATE TABLE files_segment (
    segment INTEGER PRIMARY KEY, -- Sealed: the one that is being filled is in files_counter.
    bytes   INTEGER NOT NULL,
    live    INTEGER NOT NULL     -- Sum of the lengths of the extents in it.
  ) STRICT;
  CREATE TABLE files_blob (row INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE) STRICT;
  CREATE TABLE files_open (
    client TEXT NOT NULL,
    ino    INTEGER NOT NULL,
    PRIMARY KEY (client, ino)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX files_open_by_ino ON files_open (ino);
  CREATE TABLE files_orphan (ino INTEGER PRIMARY KEY, since INTEGER NOT NULL) STRICT;
  CREATE INDEX files_orphan_by_time ON files_orphan (since, ino);
  CREATE TABLE files_lock (
    ino    INTEGER NOT NULL,
    type   INTEGER NOT NULL, -- 0 flock, 1 posix.
    client TEXT NOT NULL,
    owner  TEXT NOT NULL,
    start  INTEGER NOT NULL,
    end    INTEGER NOT NULL,
    kind   INTEGER NOT NULL, -- 1 shared, 2 exclusive.
    pid    INTEGER NOT NULL,
    PRIMARY KEY (ino, type, client, owner, start)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX files_lock_by_client ON files_lock (client, ino);
  CREATE TABLE files_waiter (
    place  INTEGER PRIMARY KEY, -- In the queue.
    ino    INTEGER NOT NULL,
    type   INTEGER NOT NULL,
    client TEXT NOT NULL,
    owner  TEXT NOT NULL,
    start  INTEGER NOT NULL,
    end    INTEGER NOT NULL,
    kind   INTEGER NOT NULL,
    pid    INTEGER NOT NULL,
    ticket INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX files_waiter_by_ino ON files_waiter (ino, type, place);
  CREATE UNIQUE INDEX files_waiter_by_client ON files_waiter (client, ticket);
  CREATE TABLE files_grant (
    client TEXT NOT NULL,
    ticket INTEGER NOT NULL,
    record INTEGER NOT NULL,
    PRIMARY KEY (client, ticket)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE files_offset (id TEXT PRIMARY KEY, ino INTEGER NOT NULL, offset INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX files_offset_by_ino ON files_offset (ino);
  CREATE TABLE files_sharer (
    client TEXT NOT NULL,
    id     TEXT NOT NULL,
    PRIMARY KEY (client, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX files_sharer_by_id ON files_sharer (id);
  CREATE TABLE files_attendee (client TEXT PRIMARY KEY, ttl INTEGER NOT NULL, ends INTEGER NOT NULL) STRICT, WITHOUT ROWID;
  CREATE INDEX files_attendee_by_end ON files_attendee (ends);
  CREATE TABLE files_gone (client TEXT PRIMARY KEY) STRICT, WITHOUT ROWID; -- What they had is taken step by step.
  CREATE TABLE files_seed (digest TEXT NOT NULL, entries INTEGER NOT NULL, done INTEGER NOT NULL) STRICT;
  CREATE TABLE files_reap (
    content INTEGER PRIMARY KEY,
    ino     INTEGER NOT NULL     -- Whose end is to be cleared; 0: all of the content goes.
  ) STRICT;
  CREATE TABLE files_counter (
    next      INTEGER NOT NULL,
    bytes     INTEGER NOT NULL, -- Sum of what inodes have allocated, without orphans that nobody has open.
    bytesMax  INTEGER NOT NULL,
    inodes    INTEGER NOT NULL,
    inodesMax INTEGER NOT NULL,
    segment   INTEGER NOT NULL, -- That is being filled,
    head      INTEGER NOT NULL, -- up to here,
    live      INTEGER NOT NULL, -- with so much that is needed.
    serving   INTEGER NOT NULL  -- When the present primary began, by the time of records.
  ) STRICT;
`;
