/// Colours of experts, by their order: distinct for people with any kind of colour vision.
enum ExpertPalette {
  /// Colours of a page, as red, green and blue: those of Okabe and Ito, and a dark red in place of black.
  static let page = [
    "0 114 178", "230 159 0", "0 158 115", "204 121 167", "86 180 233", "213 94 0", "240 228 66",
    "136 34 85",
  ]

  /// The nearest of the 256 of a terminal that can be read on black and on white.
  static let terminal = [33, 136, 36, 133, 38, 160, 142, 62]

  /// How many there are before they repeat.
  static let count = 8

  /// The colour of each column, counted on beyond the last one; nil for the null expert.
  static func numbers(of columns: [String]) -> [Int?] {
    var next = 0
    return columns.map { column in
      guard !column.isEmpty else { return nil }
      defer { next += 1 }
      return next
    }
  }
}
