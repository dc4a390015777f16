/// `48 s`, `5 min 12 s`, `3 h 04 min`, `2 d 5 h`: a duration in the two largest units that matter.
func duration(seconds: Double) -> String {
  guard seconds.isFinite, seconds >= 0, seconds < 1e11 else { return "–" }
  if seconds < 9.95 { return "\(formatted(seconds, digits: 1)) s" }
  let whole = Int(seconds.rounded())
  func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
  switch whole {
  case ..<60: return "\(whole) s"
  case ..<3600: return "\(whole / 60) min \(two(whole % 60)) s"
  case ..<86_400: return "\(whole / 3600) h \(two(whole % 3600 / 60)) min"
  default: return "\(grouped(whole / 86_400)) d \(whole % 86_400 / 3600) h"
  }
}
