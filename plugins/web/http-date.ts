/** Dates in HTTP headers (RFC 9110 section 5.6.7): one form is written, three are read. */

const months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");
const imf = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), (\d\d) ([A-Z][a-z]{2}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT$/;
const rfc850 =
  /^(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day, (\d\d)-([A-Z][a-z]{2})-(\d\d) (\d\d):(\d\d):(\d\d) GMT$/;
const asctime = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun) ([A-Z][a-z]{2}) ([ \d]\d) (\d\d):(\d\d):(\d\d) (\d{4})$/;

/** Milliseconds; null for what is no date. A year of two digits is the one at most fifty years after `nowMs`. */
export function parseHttpDate(text: string, nowMs: number): number | null {
  let m = imf.exec(text);
  if (m) return utc(m[3], m[2], m[1], m[4], m[5], m[6]);
  m = asctime.exec(text);
  if (m) return utc(m[6], m[1], m[2], m[3], m[4], m[5]);
  m = rfc850.exec(text);
  if (!m) return null;
  const thisYear = new Date(nowMs).getUTCFullYear();
  let year = thisYear - (thisYear % 100) + Number(m[3]);
  if (year > thisYear + 50) year -= 100;
  return utc(String(year), m[2], m[1], m[4], m[5], m[6]);
}

function utc(year = "", month = "", day = "", hour = "", minute = "", second = ""): number | null {
  const monthIndex = months.indexOf(month);
  const inRange = Number(day) >= 1 && Number(day) <= 31 && Number(hour) < 24 && Number(minute) < 60;
  if (monthIndex < 0 || !inRange || Number(second) > 60) return null;
  return Date.UTC(Number(year), monthIndex, Number(day), Number(hour), Number(minute), Number(second));
}
