import LMoECore
import Testing

/// Names are byte strings: equal, ordered and printed by what they hold.
@Suite struct ByteKeyTests {
  static let equivalent: [(String, String)] = [
    ("é", "e\u{301}"), ("Å", "\u{212B}"), ("Å", "A\u{30A}"), ("가", "\u{1100}\u{1161}"),
    ("\u{1E69}", "s\u{323}\u{307}"), ("≠", "=\u{338}"),
  ]

  @Test(arguments: equivalent)
  func `canonically equivalent texts differ`(left: String, right: String) {
    #expect(left == right, "String sees no difference; that is the point")
    #expect(ByteKey(left) != ByteKey(right))
    #expect(!left.hasSameBytes(as: right))
    #expect(Set([ByteKey(left), ByteKey(right), ByteKey(left)]).count == 2)
    #expect((ByteKey(left) < ByteKey(right)) != (ByteKey(right) < ByteKey(left)))
    #expect([ByteKey(left): 1][ByteKey(right)] == nil)
  }

  @Test func `equal texts are equal however they are stored`() {
    let long = String(repeating: "model.layers.", count: 20)
    let piecewise = (0..<20).reduce("") { text, _ in text + "model" + ".layers." }
    #expect(ByteKey(long) == ByteKey(piecewise))
    #expect(ByteKey(long).hashValue == ByteKey(piecewise).hashValue)
    #expect(ByteKey(String(long.dropFirst(6))) == ByteKey(String(piecewise.dropFirst(6))))
    #expect(!"abc".hasSameBytes(as: "abcd") && !"abc".hasSameBytes(as: "abd") && "".hasSameBytes(as: ""))
  }

  @Test func `the order is that of the bytes`() {
    let ordered: [ByteKey] = [
      "", "\u{0}", "\u{1}", " ", "A", "A\u{30A}", "B", "a", "a.10", "a.2", "aa", "e\u{301}", "z", "\u{7F}",
      "\u{80}", "é",
      "\u{7FF}", "\u{800}", "\u{FFFF}", "\u{10000}", "\u{10FFFF}",
    ]
    #expect(ordered.shuffled().sorted() == ordered)
    for (left, right) in zip(ordered, ordered.dropFirst()) {
      #expect(left < right && !(right < left) && left != right)
      #expect(!(left < left))
      #expect(Array(left.text.utf8).lexicographicallyPrecedes(Array(right.text.utf8)))
    }
  }

  @Test(arguments: [
    ("plain text, ünïcode, 日本 😀", "plain text, ünïcode, 日本 😀"), ("\u{1B}[31mred\u{1B}[0m", "␛[31mred␛[0m"),
    ("a\0b\tc\nd\r\ne", "a␀b␉c␊d␍␊e"), ("\u{1F}\u{7F}", "␟␡"), ("\u{9B}31m", "\\u{9b}31m"),
    ("\u{85}", "\\u{85}"),
    ("gpj.\u{202E}exe", "gpj.\\u{202e}exe"), ("\u{2066}a\u{2069}", "\\u{2066}a\\u{2069}"),
    ("\u{200E}\u{200F}", "\\u{200e}\\u{200f}"), ("\u{2028}\u{2029}", "\\u{2028}\\u{2029}"),
    ("e\u{301}", "e\u{301}"),
  ])
  func `control characters are shown, not obeyed`(text: String, shown: String) {
    #expect(text.printable.hasSameBytes(as: shown))
  }

  static let arabicLetterMark: Unicode.Scalar = "\u{61C}"

  @Test
  func `the Arabic letter mark is shown`() {
    #expect(String(Character(Self.arabicLetterMark)).printable == "\\u{61c}")
  }

  @Test func `nothing that moves a cursor is printed`() {
    for value in 0...0x2100 as ClosedRange<UInt32> {
      guard let scalar = Unicode.Scalar(value), scalar != Self.arabicLetterMark else { continue }
      let facts = scalar.properties
      let moves =
        [.control, .lineSeparator, .paragraphSeparator].contains(facts.generalCategory) || facts.isBidiControl
      #expect(String(Character(scalar)).printable.unicodeScalars.contains(scalar) == !moves, "\(scalar)")
    }
  }
}

/// Sixteen bytes and their spelling.
@Suite struct HexadecimalTests {
  @Test func `there and back`() {
    let all = [UInt8](0...255)
    let text = hexadecimal(all)
    #expect(text.hasPrefix("000102") && text.hasSuffix("fdfeff") && text.count == 512)
    #expect(bytes(hexadecimal: text) == all)
    #expect(bytes(hexadecimal: text.uppercased()) == all)
    #expect(hexadecimal([]) == "" && bytes(hexadecimal: "") == [])
  }

  @Test(arguments: [
    "0", "abc", "0g", "g0", "0x00", " 00", "00 ", "-1", "+1", "é", "０0", "0\u{301}0", "/0", ":0", "@0", "`0",
  ])
  func `what is not hexadecimal`(text: String) {
    #expect(bytes(hexadecimal: text) == nil)
  }

  @Test func `128 bits`() throws {
    let bits = Bits128(high: 0x0011_2233_4455_6677, low: 0x8899_AABB_CCDD_EEFF)
    #expect(bits.description == "00112233445566778899aabbccddeeff")
    #expect(bits.bytes == (0..<16).map { UInt8($0 * 17) })
    #expect(Bits128(hexadecimal: "00112233445566778899AABBCCDDEEFF") == bits)
    #expect(Bits128.zero.bytes == [UInt8](repeating: 0, count: 16))
    let digits = bits.description
    for text in ["", "00", String(digits.dropLast()), digits + "00", "zz" + digits.dropFirst(2)] {
      #expect(Bits128(hexadecimal: text) == nil)
    }
  }

  @Test func `128 bits are ordered as their bytes`() {
    let ordered = [
      Bits128.zero, Bits128(high: 0, low: 1), Bits128(high: 0, low: .max), Bits128(high: 1, low: 0),
      Bits128(high: 1, low: 2), Bits128(high: .max, low: 0), Bits128(high: .max, low: .max),
    ]
    #expect(ordered.shuffled().sorted() == ordered)
    for (left, right) in zip(ordered, ordered.dropFirst()) {
      #expect(left.bytes.lexicographicallyPrecedes(right.bytes))
    }
  }

  @Test func `random ones differ`() throws {
    let many = try Set((0..<1000).map { _ in try Bits128.random() })
    #expect(many.count == 1000 && !many.contains(.zero))
    // Every byte but the last varies freely.
    for place in 0..<15 { #expect(Set(many.map { $0.bytes[place] }).count > 200) }
  }
}
