import LMoECore
import LMoERuntime

/// Turns the tokens of texts into what is printed, as they come.
final class GenerationPrinter {
  /// A text on its way.
  struct Text {
    var stream: TokenStream
    var stop: StopStrings
    /// What is certain so far.
    var bytes: [UInt8] = []
    /// The tokens, without the one that ended it.
    var tokens: [Int] = []
    var end = Generator.End.length
  }

  private(set) var texts: [Text]
  private let isStreaming: Bool
  private var isLineOpen = false

  init(_ tokenizer: Tokenizer, stop: [String], count: Int, isStreaming: Bool) {
    self.isStreaming = isStreaming
    let stream = TokenStream(tokenizer, skippingSpecialTokens: true)
    texts = Array(repeating: Text(stream: stream, stop: StopStrings(stop)), count: count)
  }

  /// Takes what happened to a text; false ends it.
  func take(_ index: Int, _ event: Generator.Event) -> Bool {
    switch event {
    case .token(let token):
      texts[index].tokens.append(token)
      add(index, texts[index].stop.append(texts[index].stream.append(token).utf8))
      return !texts[index].stop.isFound
    case .end(let end):
      texts[index].end = end
      add(index, texts[index].stop.append(texts[index].stream.finish().utf8))
      if !texts[index].stop.isFound { add(index, texts[index].stop.finish()) }
      return true
    }
  }

  private func add(_ index: Int, _ bytes: [UInt8]) {
    texts[index].bytes += bytes
    if isStreaming { show(bytes) }
  }

  /// Prints bytes as they are, or so that a terminal cannot mistake them for orders.
  func show(_ bytes: [UInt8]) {
    guard !bytes.isEmpty else { return }
    isLineOpen = bytes.last != UInt8(ascii: "\n")
    Terminal.emit(Terminal.isOutputTerminal ? Self.harmless(bytes) : bytes)
  }

  /// Ends the line if one is open.
  func endLine() {
    if isLineOpen { Terminal.print() }
    isLineOpen = false
  }

  /// Control characters but for line ends and tabs, as visible ones.
  static func harmless(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    for scalar in String(decoding: bytes, as: UTF8.self).unicodeScalars {
      switch scalar.value {
      case 0x0A, 0x09: result.append(UInt8(scalar.value))
      case 0..<0x20: result += Array(String(Character(Unicode.Scalar(0x2400 + scalar.value) ?? "?")).utf8)
      case 0x7F...0x9F, 0x202A...0x202E, 0x2066...0x2069: result += Array("\u{FFFD}".utf8)
      default: result += Array(String(scalar).utf8)
      }
    }
    return result
  }
}
