/** The rules of the style that the linter can't judge, as pure functions of sources and manifests. */

export interface Source {
  /** From the top of the repository, with `/`. */
  readonly path: string;
  readonly code: string;
}

export interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** Arrows point one way: `silt -> aws, local, embed, reader -> segment -> core`. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  segment: ["core"],
  reader: ["segment", "core"],
  embed: ["segment", "core"],
  local: ["segment", "core"],
  aws: ["segment", "core"],
  silt: ["aws", "local", "embed", "reader", "segment", "core"],
  testkit: ["core"],
};
const SQLITE_PACKAGES = ["segment", "reader", "local"];
/** Hash functions alone: no random bytes, no UUIDs. */
const CORE_CRYPTO = ["createHash", "hash", "type Hash"];
const CORE_FORBIDDEN =
  /\b(?:Date\.now|new Date\(\)|Math\.random|performance\.|process\.|globalThis|setTimeout|setInterval|setImmediate|fetch\()/;
const FILE_LINES_MAX = 450;
/** Code is the formatter's, at 100; this is for what it leaves alone. */
const COMMENT_COLUMNS_MAX = 120;

const IMPORT =
  /(?:^|[;\s])(?:import|export)\s(?:[^"'`;]*?\sfrom\s)?\s*["']([^"']+)["']|\bimport\(\s*["']([^"']+)["']\s*\)|\b(?:require|resolve)\(\s*["']([^"']+)["']\s*\)|createRequire\([^)]*\)\(\s*["']([^"']+)["']\s*\)/g;
const BESIDE_BY_URL = /new URL\(\s*["'`](\.{1,2}\/[a-z0-9/-]+(?:\.fixture)?)\.[^"'`]*["'`]/g;

/** Sources that ship: of packages, of the functions, of the stack. */
const SHIPPED = /^(?:packages\/[^/]+\/src|lambdas|infra)\//;

export function isTest(path: string): boolean {
  return /\.(?:test|fixture)\.ts$/.test(path) || !SHIPPED.test(path);
}

function packageOf(path: string): string | undefined {
  return /^packages\/([^/]+)\//.exec(path)?.[1];
}

function withoutComments(code: string): string {
  return code.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/[^\n]*/g, "$1");
}

/** Specifiers of all imports, dynamic ones and `require.resolve` too, as they are written. */
export function importsOf(source: Source): readonly string[] {
  const found = [...withoutComments(source.code).matchAll(IMPORT)];
  return found.map((match) => match.slice(1).find((part) => part !== undefined) as string);
}

/** `@scope/name/deep` is of `@scope/name`; undefined for files and for what Node brings. */
function dependencyOf(specifier: string): string | undefined {
  if (specifier.startsWith(".") || specifier.startsWith("node:")) return undefined;
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

function resolveFrom(path: string, specifier: string): string {
  return new URL(specifier, `file:///${path}`).pathname.slice(1);
}

export function forbiddenArrows(source: Source): readonly string[] {
  const own = packageOf(source.path);
  if (own === undefined || !source.path.includes("/src/")) return [];
  const allowed = [...(ARROWS[own] ?? []), ...(isTest(source.path) ? ["testkit"] : [])];
  return importsOf(source).flatMap((specifier) => {
    const target = /^@silt\/([a-z]+)/.exec(specifier)?.[1];
    if (target !== undefined && !allowed.includes(target)) {
      return [`${source.path}: ${own} must not import ${target}`];
    }
    const leaves =
      specifier.startsWith(".") && packageOf(resolveFrom(source.path, specifier)) !== own;
    const mayLeave =
      isTest(source.path) && !resolveFrom(source.path, specifier).startsWith("packages/");
    return leaves && !mayLeave ? [`${source.path}: "${specifier}" leaves its package`] : [];
  });
}

export function strayed(source: Source): readonly string[] {
  if (isTest(source.path) || !importsOf(source).includes("better-sqlite3")) return [];
  return SQLITE_PACKAGES.includes(packageOf(source.path) ?? "")
    ? []
    : [`${source.path}: better-sqlite3 belongs to ${SQLITE_PACKAGES.join(", ")}`];
}

/** Core decides and never acts: nothing of Node but hash functions, no clock, random, environment. */
export function impureCore(source: Source): readonly string[] {
  if (packageOf(source.path) !== "core" || isTest(source.path)) return [];
  const code = withoutComments(source.code);
  const modules = importsOf(source).filter((name) => /^node:(?!crypto$)/.test(name));
  const crypto = [...code.matchAll(/import\s+(?:type\s+)?\{([^}]*)\}\s+from\s+"node:crypto"/g)]
    .flatMap((match) => (match[1] as string).split(","))
    .map((name) => name.trim())
    .filter((name) => name !== "" && !CORE_CRYPTO.includes(name));
  const used = CORE_FORBIDDEN.exec(code);
  return [...modules, ...crypto, ...(used === null ? [] : [used[0]])].map(
    (what) => `${source.path}: core must not use ${what}`,
  );
}

export function tooLong(source: Source): readonly string[] {
  const lines = source.code.split("\n");
  const long =
    lines.length - 1 > FILE_LINES_MAX ? [`${source.path}: ${lines.length - 1} lines`] : [];
  const wide = lines.flatMap((line, index) =>
    /^\s*(?:\/\/|\/?\*)/.test(line) && line.length > COMMENT_COLUMNS_MAX
      ? [`${source.path}:${index + 1}: ${line.length} columns`]
      : [],
  );
  return [...long, ...wide];
}

/** Files of packages that no entry reaches; tests are entries too, but only for fixtures. */
export function deadFiles(
  sources: readonly Source[],
  entries: readonly string[],
): readonly string[] {
  const byPath = new Map(sources.map((source) => [source.path, source]));
  function reachableFrom(starts: readonly string[]): ReadonlySet<string> {
    const seen = new Set<string>();
    const open = [...starts];
    for (let path = open.pop(); path !== undefined; path = open.pop()) {
      const source = byPath.get(path);
      if (source === undefined || seen.has(path)) continue;
      seen.add(path);
      for (const name of importsOf(source))
        if (name.startsWith(".")) open.push(resolveFrom(path, name));
      for (const [, beside = ""] of source.code.matchAll(BESIDE_BY_URL)) {
        open.push(resolveFrom(path, `${beside}.ts`));
      }
    }
    return seen;
  }
  const tests = sources.map(({ path }) => path).filter((path) => !path.endsWith(".fixture.ts"));
  const shipped = reachableFrom(entries);
  const tested = reachableFrom(tests.filter(isTest));
  return sources
    .map(({ path }) => path)
    .filter((path) => path.includes("/src/") && !path.endsWith(".test.ts"))
    .filter((path) => !(path.endsWith(".fixture.ts") ? tested : shipped).has(path))
    .map((path) => `${path}: nothing that ships imports it`);
}

/** What a package imports against what its manifest lists; `unseen` are peers that others import. */
export function wrongDependencies(
  manifest: Manifest,
  sources: readonly Source[],
  unseen: readonly string[],
): readonly string[] {
  const listed = { ...manifest.dependencies, ...manifest.optionalDependencies };
  const imported = (tests: boolean) =>
    sources
      .filter(({ path }) => isTest(path) === tests)
      .flatMap(importsOf)
      .map(dependencyOf)
      .filter((name) => name !== undefined);
  const shipped = new Set(imported(false));
  return [
    ...[...shipped]
      // Types alone are imported by the name of what they are types of.
      .filter(
        (name) => (listed[name] ?? manifest.devDependencies?.[`@types/${name}`]) === undefined,
      )
      .map((name) => `lacks ${name}`),
    ...Object.keys(listed)
      .filter((name) => !shipped.has(name) && !unseen.includes(name))
      .map((name) => `lists ${name}, which it doesn't import`),
  ].map((what) => `${manifest.name}: ${what}`);
}

/** Packages that come in two versions, pinned loosely, or not from the public registry. */
export function unpinned(manifests: readonly Manifest[]): readonly string[] {
  const versions = new Map<string, string>();
  return manifests.flatMap(({ name, dependencies, optionalDependencies, devDependencies }) =>
    Object.entries({ ...dependencies, ...optionalDependencies, ...devDependencies }).flatMap(
      ([dependency, version]) => {
        if (dependency.startsWith("@silt/")) return [];
        const known = versions.get(dependency) ?? version;
        versions.set(dependency, known);
        const said = `${name}: ${dependency} ${version}`;
        if (!/^\d+\.\d+\.\d+$/.test(version)) return [`${said} is no exact version`];
        return known === version ? [] : [`${said}, elsewhere ${known}`];
      },
    ),
  );
}

/** Places in a lockfile that only this machine, or another registry, could resolve. */
export function foreignPlaces(lockfile: string): readonly string[] {
  const resolved = [...lockfile.matchAll(/"resolved": "([^"]*)"/g)].map(
    (match) => match[1] as string,
  );
  const paths = lockfile.match(/"(?:file:|\/(?:root|home|work|tmp)\/)[^"]*"/g) ?? [];
  return [
    ...resolved.filter(
      (place) => !/^(?:packages\/|lambdas$|infra$|https:\/\/registry\.npmjs\.org\/)/.test(place),
    ),
    ...paths,
  ];
}
