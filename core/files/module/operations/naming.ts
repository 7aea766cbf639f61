/** What all operations on names begin with. */
import { nameIssue } from "../../names.ts";
import type { Entry } from "../entries.ts";
import type { Inode } from "../inodes.ts";
import { refuse } from "../refusal.ts";
import type { Volume } from "../volume.ts";

export function checkName(name: string): void {
  const issue = nameIssue(name);
  if (issue) refuse(issue);
}

export function isDots(name: string): boolean {
  return name === "." || name === "..";
}

/** A directory that names may be made in: one that was removed takes none. */
export function livingDirectory(volume: Volume, ino: number): Inode {
  const directory = volume.inodes.directory(ino);
  return directory.nlink > 0 ? directory : refuse("ENOENT");
}

/** The entry of this name, which has the inode that the caller believes. */
export function expectedEntry(volume: Volume, parent: number, name: string, ino: number): Entry {
  const entry = volume.entries.find(parent, name) ?? refuse("ENOENT");
  return entry.ino === ino ? entry : refuse("changed");
}
