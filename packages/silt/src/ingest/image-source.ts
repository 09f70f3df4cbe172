/** Where pictures come from: files of this machine, or objects of S3. */

/** A picture by its name. What lies there is asked of its source each time. */
export interface ImageFile {
  /** Canonical: what records, guards and reports call it. */
  readonly uri: string;
  /** Where it was found: host and folder, or bucket and prefix. */
  readonly root: string;
}

/** A place that a caller named, checked. */
export interface ImageRoot {
  readonly kind: "folder" | "file";
  /** For people: the real path, or `s3://bucket/prefix`. */
  readonly path: string;
  /** Pictures in a folder have this and a "/" before their names. */
  readonly uri: string;
}

export interface WalkOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told of a folder that may not be read; without it that is thrown. */
  readonly onDenied?: ((folder: string, reason: string) => void) | undefined;
}

export type SourceRead =
  | {
      readonly outcome: "read";
      /** SHA-256 over the picture, or over the hashes of picture and sidecar. */
      readonly digest: string;
      /** What {@link ImageSource.stampOf} says as long as the same lies there. */
      readonly stamp: string;
      readonly bytes: Uint8Array;
      /** Undefined without one. */
      readonly sidecar: SidecarRead | undefined;
    }
  /** Nobody needs to look inside to know that it can't be ingested. */
  | {
      readonly outcome: "unfit";
      /** The same as long as the source is; that of what is far too large to be read tells nothing else. */
      readonly digest: string;
      readonly stamp: string;
      readonly reason: string;
    }
  /** It may not be read, so that nothing is known of it. */
  | { readonly outcome: "denied"; readonly reason: string }
  | { readonly outcome: "gone" };

/** The stamp of a picture that is gone. */
export const GONE_STAMP = "gone";

/** What the owner of a picture tells about it: JSON. */
export interface SidecarRead {
  /** For messages. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Every method throws `unavailable` when disk or service fail: then nothing is known. */
export interface ImageSource {
  /** Throws `invalid` for a place that doesn't exist, and for what is no picture by its name. */
  openRoot(place: string): Promise<ImageRoot>;
  /** The pictures of these roots, in a stable order; one that several roots lead to may come again. */
  walk(roots: readonly ImageRoot[], options?: WalkOptions): AsyncIterable<ImageFile>;
  /** The signal ends what could take long; its reason is thrown. */
  read(uri: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<SourceRead>;
  /**
   * A second look, as cheap as the source can: the stamp that a read would have now, of another content
   * never the same. Undefined when it may not be looked at.
   */
  stampOf(uri: string): Promise<string | undefined>;
  /** True only when there is surely no such picture. */
  isGone(uri: string): Promise<boolean>;
  /**
   * True only when the place where the picture was found is surely still there, so that a picture that
   * is not was removed: a missing disk takes its pictures with it, and they come back.
   */
  hasRoot(file: ImageFile): Promise<boolean>;
  /** False when it was last read from elsewhere, e.g. from the same path of another host. */
  isOwn(file: { readonly uri: string; readonly root: string | null }): boolean;
}
