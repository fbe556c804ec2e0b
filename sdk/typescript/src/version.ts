/** The version of this package; it follows the server's. */
export const VERSION = "0.1.0";
