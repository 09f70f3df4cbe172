/** Names, ascending, of the folders right under `prefix` that keys lie in: `listFolders()` of a store in memory. */
export function folderNames(prefix: string, keys: Iterable<string>): readonly string[] {
  const names = new Set<string>();
  for (const key of keys) {
    const end = key.indexOf("/", prefix.length);
    if (key.startsWith(prefix) && end >= 0) names.add(key.slice(prefix.length, end));
  }
  return [...names].sort();
}
