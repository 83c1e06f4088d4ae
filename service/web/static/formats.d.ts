/** What the service writes as `formats.js`: each format's title, note and suffix, and whether it is for metres alone. */
export const FORMATS: Readonly<Record<string, readonly [title: string, note: string, suffix: string, metric: boolean]>>;
