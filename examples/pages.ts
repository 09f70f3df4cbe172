/** A page of running text, set in one font. */
export interface Page {
  readonly file: string;
  readonly font: string;
  readonly title: string;
  readonly lines: readonly string[];
}

export const PAGES: readonly Page[] = [
  {
    file: "page-lost-cat.png",
    font: "DejaVu Sans",
    title: "Lost cat",
    lines: [
      "Grey tabby with one white paw.",
      "She answers to the name Pepper and",
      "was last seen near the old mill on",
      "Sunday evening. Please look in your",
      "sheds and garages.",
      "Reward: one large apple cake.",
    ],
  },
  {
    file: "page-lentil-soup.png",
    font: "DejaVu Serif",
    title: "Lentil soup for four",
    lines: [
      "250 grams of red lentils",
      "Two carrots and one onion",
      "A spoon of cumin and some salt",
      "Fry the onion, add the lentils and",
      "a litre of water, and let it simmer",
      "for twenty minutes. Serve with lemon.",
    ],
  },
  {
    file: "page-opening-hours.png",
    font: "DejaVu Sans",
    title: "Town library",
    lines: [
      "Monday closed",
      "Tuesday to Friday 10 to 18",
      "Saturday 9 to 13",
      "Reading room on the second floor.",
      "Please return books at the front desk.",
    ],
  },
  {
    file: "page-river-notes.png",
    font: "DejaVu Serif",
    title: "Notes on a river",
    lines: [
      "A river carries more than water. Sand",
      "and clay travel with it, slowly where",
      "it is wide and fast where it is steep.",
      "When the current rests, they settle to",
      "the ground, layer on layer, until the",
      "bed of the river is a record of every",
      "flood that it has seen.",
    ],
  },
  {
    file: "page-timetable.png",
    font: "DejaVu Sans Mono",
    title: "Ferry timetable",
    lines: [
      "North pier   07:15   12:40   18:05",
      "Lighthouse   07:35   13:00   18:25",
      "Fish market  07:50   13:15   18:40",
      "South pier   08:10   13:35   19:00",
      "No service in strong winds.",
    ],
  },
];

const WIDTH = 900;
const MARGIN = 60;

/** The page as SVG, 900 pixels wide. */
export function pageSvg({ font, title, lines }: Page): string {
  const height = 200 + lines.length * 52;
  const text = (content: string, y: number, size: number, weight: string) =>
    `<text x="${MARGIN}" y="${y}" font-size="${size}" font-weight="${weight}" xml:space="preserve">${content}</text>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" font-family="${font}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(title, 100, 46, "bold"),
    ...lines.map((line, index) => text(line, 180 + index * 52, 32, "normal")),
    "</svg>",
  ].join("\n");
}

/** Every word that is on the page, in order. */
export function pageWords({ title, lines }: Page): string[] {
  return [title, ...lines].join(" ").split(/ +/);
}
