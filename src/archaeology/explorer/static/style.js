/** The style sheet: the bundle puts explorer.css into this string. */

export const STYLE = "";
