/** A receipt of an invented shop. What it says is also the truth that text recognition is held to. */
export interface Receipt {
  readonly file: string;
  readonly shop: string;
  readonly address: string;
  readonly heading: string;
  /** Name and price, as printed. */
  readonly items: readonly (readonly [string, string])[];
  readonly total: string;
  readonly closing: string;
  /** EXIF orientation to be stored with: the pixels lie turned and only the tag puts them upright. */
  readonly orientation?: 3 | 6 | 8;
}

export const RECEIPTS: readonly Receipt[] = [
  {
    file: "receipt-kino-cafe.png",
    shop: "Kino Cafe",
    address: "12 Harbour Street",
    heading: "Table 4 served by Mara",
    items: [
      ["Flat white", "3.80"],
      ["Filter coffee", "2.90"],
      ["Cinnamon bun", "3.20"],
      ["Sparkling water", "2.50"],
    ],
    total: "12.40",
    closing: "Thank you and enjoy the film",
  },
  {
    file: "receipt-paper-moon-books.png",
    shop: "Paper Moon Books",
    address: "7 Lantern Lane",
    heading: "Invoice 20417",
    items: [
      ["Atlas of Rivers", "34.00"],
      ["Poems for Winter", "14.50"],
      ["Pocket Dictionary", "9.90"],
      ["Bookmark", "1.60"],
    ],
    total: "60.00",
    closing: "Exchange within thirty days",
  },
  {
    file: "receipt-green-basket.jpg",
    shop: "Green Basket",
    address: "Market Square 3",
    heading: "Fruit and vegetables",
    items: [
      ["Tomatoes", "2.40"],
      ["Potatoes", "1.95"],
      ["Red onions", "1.10"],
      ["Strawberries", "4.25"],
      ["Lemons", "1.80"],
      ["Fresh basil", "1.50"],
    ],
    total: "13.00",
    closing: "Grown within fifty miles",
    orientation: 6,
  },
  {
    file: "receipt-bolt-hardware.png",
    shop: "Bolt Hardware",
    address: "88 Foundry Road",
    heading: "Cash sale 5521",
    items: [
      ["Claw hammer", "18.90"],
      ["Wood screws", "4.60"],
      ["Sandpaper", "3.20"],
      ["White paint", "24.00"],
      ["Paint brush", "6.30"],
    ],
    total: "57.00",
    closing: "Keep this receipt for the warranty",
  },
  {
    file: "receipt-night-train.jpg",
    shop: "Night Train",
    address: "Central Station Platform 9",
    heading: "Dining car",
    items: [
      ["Tomato soup", "6.50"],
      ["Cheese sandwich", "5.80"],
      ["Black tea", "2.70"],
    ],
    total: "15.00",
    closing: "Have a pleasant journey",
    orientation: 8,
  },
  {
    file: "receipt-little-pharmacy.png",
    shop: "Little Pharmacy",
    address: "Clinic Road 21",
    heading: "Prescription 7730",
    items: [
      ["Cough syrup", "8.40"],
      ["Plasters", "3.10"],
      ["Hand cream", "5.50"],
      ["Vitamin tablets", "11.00"],
    ],
    total: "28.00",
    closing: "Ask the pharmacist for advice",
  },
  {
    file: "receipt-velo-workshop.jpg",
    shop: "Velo Workshop",
    address: "Canal Bridge 2",
    heading: "Bicycle repair",
    items: [
      ["Inner tube", "7.50"],
      ["Brake pads", "12.00"],
      ["Chain oil", "6.50"],
      ["Labour one hour", "40.00"],
    ],
    total: "66.00",
    closing: "Ride safely",
    orientation: 3,
  },
  {
    file: "receipt-blue-door-bakery.png",
    shop: "Blue Door Bakery",
    address: "Mill Lane 5",
    heading: "Baked this morning",
    items: [
      ["Rye bread", "4.20"],
      ["Butter croissant", "2.10"],
      ["Apple cake", "3.70"],
      ["Espresso", "2.00"],
    ],
    total: "12.00",
    closing: "Closed on Mondays",
  },
  {
    file: "receipt-orchid-florist.png",
    shop: "Orchid Florist",
    address: "Garden Terrace 14",
    heading: "Order 316",
    items: [
      ["White lilies", "16.00"],
      ["Red roses", "22.00"],
      ["Clay pot", "9.00"],
      ["Greeting card", "3.00"],
    ],
    total: "50.00",
    closing: "Water them every second day",
  },
];

/** The receipt in ReceiptLine markdown. */
export function receiptMarkdown(receipt: Receipt): string {
  return [
    `^^^${receipt.shop}`,
    receipt.address,
    "",
    `${receipt.heading}|`,
    "---",
    ...receipt.items.map(([name, price]) => `${name} | ${price}`),
    "---",
    `^TOTAL | ^${receipt.total}`,
    "",
    receipt.closing,
  ].join("\n");
}

/** Every word that is printed on the receipt, in order. */
export function receiptWords(receipt: Receipt): string[] {
  const { shop, address, heading, items, total, closing } = receipt;
  return [shop, address, heading, ...items.flat(), "TOTAL", total, closing].join(" ").split(" ");
}
