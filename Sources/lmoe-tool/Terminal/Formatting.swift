#if canImport(Glibc)
  private import Glibc
#else
  private import Darwin
#endif

/// `1.23 GB`: decimal units, three digits.
func formatted(bytes: some BinaryInteger) -> String {
  scaled(Double(bytes), 1000, ["B", "kB", "MB", "GB", "TB"])
}

/// `1.1 B`: parameters in the field's way.
func formatted(count: some BinaryInteger) -> String { scaled(Double(count), 1000, ["", "K", "M", "B", "T"]) }

private func scaled(_ value: Double, _ step: Double, _ units: [String]) -> String {
  var value = value
  var unit = 0
  while value >= 999.5, unit < units.count - 1 {
    value /= step
    unit += 1
  }
  let digits = unit == 0 ? 0 : value < 9.995 ? 2 : value < 99.95 ? 1 : 0
  let number = formatted(value, digits: digits)
  return units[unit].isEmpty ? number : "\(number) \(units[unit])"
}

/// A number with a fixed number of decimals.
func formatted(_ value: Double, digits: Int) -> String {
  let factor = (0..<digits).reduce(1.0) { result, _ in result * 10 }
  let scaled = (value * factor).rounded()
  guard scaled.isFinite, abs(scaled) < 1e18 else { return "\(value)" }
  let whole = Int(scaled.magnitude)
  let divisor = Int(factor)
  let sign = scaled < 0 ? "-" : ""
  if digits == 0 { return "\(sign)\(whole)" }
  let fraction = String(whole % divisor)
  return "\(sign)\(whole / divisor)." + String(repeating: "0", count: digits - fraction.count) + fraction
}

/// `2026-11-21 06:30:05`, UTC.
func formatted(nanoseconds: UInt64) -> String {
  var seconds = time_t(nanoseconds / 1_000_000_000)
  var parts = unsafe tm()
  guard unsafe gmtime_r(&seconds, &parts) != nil else { return "?" }
  func two(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
  return unsafe "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday)) "
    + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
}

/// Three significant digits: `12.3`, `0.0412`, `1.2e-07`.
func significant(_ value: Double) -> String {
  guard value.isFinite, value != 0 else { return value == 0 ? "0" : "\(value)" }
  var size = abs(value)
  guard (1e-4..<1e6).contains(size) else {
    var exponent = 0
    while size >= 10 { (size, exponent) = (size / 10, exponent + 1) }
    while size < 1 { (size, exponent) = (size * 10, exponent - 1) }
    return "\(value < 0 ? "-" : "")\(formatted(size, digits: 1))e\(exponent)"
  }
  var digits = 2
  while size >= 10, digits > 0 { (size, digits) = (size / 10, digits - 1) }
  while size < 1 { (size, digits) = (size * 10, digits + 1) }
  return formatted(value, digits: digits)
}

/// A number in the fewest characters, at most four decimals: `2`, `0.5`, `5.6569`.
func shortest(_ value: Double) -> String {
  if let whole = Int(exactly: value) { return grouped(whole) }
  guard abs(value) < 1e15 else { return significant(value) }
  var text = formatted(value, digits: 4)
  if text.hasSuffix("0000") || text == "0.0000" { return significant(value) }
  while text.hasSuffix("0") { text.removeLast() }
  return text
}

/// `128,256`.
func grouped(_ value: Int) -> String {
  let digits = String(value.magnitude)
  var text = ""
  for (index, digit) in digits.enumerated() {
    if index > 0, (digits.count - index) % 3 == 0 { text.append(",") }
    text.append(digit)
  }
  return (value < 0 ? "-" : "") + text
}
