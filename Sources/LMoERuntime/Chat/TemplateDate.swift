import LMoECore

/// A moment, for templates that write today's date.
public struct TemplateDate: Hashable, Sendable {
  let year: Int
  let month: Int
  let day: Int
  /// Sunday is 0.
  let weekday: Int
  let dayOfYear: Int
  let secondOfDay: Int

  /// The moment so many seconds after the beginning of 1970, in UTC or shifted by the caller.
  public init(secondsSince1970 seconds: Int) {
    // Within what calendars are made for.
    let seconds = min(max(seconds, -62_135_596_800), 253_402_300_799)
    let days = (seconds - (seconds % 86400 + 86400) % 86400) / 86400
    secondOfDay = seconds - days * 86400
    weekday = ((days + 4) % 7 + 7) % 7
    // Years that begin in March have their leap day at the end; eras have 400 of them.
    let shifted = days + 719_468
    let era = (shifted - (shifted % 146_097 + 146_097) % 146_097) / 146_097
    let dayOfEra = shifted - era * 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let marchDay = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let marchMonth = (5 * marchDay + 2) / 153
    day = marchDay - (153 * marchMonth + 2) / 5 + 1
    month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
    year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month - 1]
    dayOfYear = before + day + (isLeap && month > 2 ? 1 : 0)
  }

  /// Now, in UTC.
  public static var now: TemplateDate {
    TemplateDate(secondsSince1970: Int(currentNanoseconds() / 1_000_000_000))
  }

  private static let months = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
    "November", "December",
  ]
  private static let weekdays = [
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
  ]

  /// As C's `strftime` writes it in English; nil for a directive that is not known.
  func formatted(_ format: String) -> String? {
    var result = ""
    var isDirective = false
    for scalar in format.unicodeScalars {
      if isDirective {
        guard let text = text(of: scalar) else { return nil }
        result += text
        isDirective = false
      } else if scalar == "%" {
        isDirective = true
      } else {
        result.unicodeScalars.append(scalar)
      }
    }
    return isDirective ? nil : result
  }

  private func text(of directive: Unicode.Scalar) -> String? {
    func padded(_ number: Int, _ width: Int = 2) -> String {
      let digits = String(number)
      return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
    let hour = secondOfDay / 3600
    let minute = padded(secondOfDay / 60 % 60)
    switch directive {
    case "Y": return String(year)
    case "y": return padded(year % 100)
    case "m": return padded(month)
    case "B": return Self.months[month - 1]
    case "b": return String(Self.months[month - 1].prefix(3))
    case "d": return padded(day)
    case "e": return day < 10 ? " \(day)" : "\(day)"
    case "j": return padded(dayOfYear, 3)
    case "A": return Self.weekdays[weekday]
    case "a": return String(Self.weekdays[weekday].prefix(3))
    case "w": return String(weekday)
    case "H": return padded(hour)
    case "I": return padded((hour + 11) % 12 + 1)
    case "p": return hour < 12 ? "AM" : "PM"
    case "M": return minute
    case "S": return padded(secondOfDay % 60)
    case "F": return "\(padded(year, 4))-\(padded(month))-\(padded(day))"
    case "T": return "\(padded(hour)):\(minute):\(padded(secondOfDay % 60))"
    case "%": return "%"
    default: return nil
    }
  }
}
