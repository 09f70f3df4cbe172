import { letComeToSources } from "../come-to-sources.ts";

const NOBODY = 65_534;

/** Root may read everything, which proves nothing about what may not be read: another user does the work. */
export function becomeUnprivileged(): Disposable {
  const { geteuid, seteuid, setegid } = process;
  if (geteuid?.() !== 0 || seteuid === undefined || setegid === undefined) {
    return { [Symbol.dispose]() {} };
  }
  const opened = letComeToSources();
  setegid(NOBODY);
  seteuid(NOBODY);
  return {
    [Symbol.dispose]() {
      seteuid(0);
      setegid(0);
      opened[Symbol.dispose]();
    },
  };
}
