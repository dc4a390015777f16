import ArgumentParser
import LMoECore
import LMoEFormat
import LMoERuntime

/// The command `lmoe-tool tokenize`.
struct Tokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Turn text into the tokens of a model, or tokens into text.",
    discussion: """
      The tokens are those of Hugging Face's tokenizers, special ones at the beginning and the end included. \
      Pieces are shown between quotation marks; bytes that are no text by themselves as \\xE2.
      """)

  @Argument(
    help: "A bundle, the directory of a checkpoint, or a tokenizer.json.", completion: .file())
  var path: String

  @Argument(help: "Texts.")
  var texts: [String] = []

  @Option(
    name: .long, help: ArgumentHelp("Take the text from a file, or from stdin (-).", valueName: "path"),
    completion: .file())
  var file: [String] = []

  @Option(
    name: .long, help: ArgumentHelp("Turn tokens into text: numbers, with commas.", valueName: "ids"))
  var decode: String?

  @Flag(name: .long, help: "Leave out special tokens: add none, and decode none.")
  var noSpecial = false

  @Flag(name: .long, help: "Print numbers only, one line a text.")
  var ids = false

  @OptionGroup var report: ReportOptions

  func validate() throws {
    if decode != nil, !texts.isEmpty || !file.isEmpty || ids {
      throw ValidationError("--decode takes numbers; it goes with no text, --file or --ids.")
    }
    if decode == nil, texts.isEmpty, file.isEmpty {
      throw ValidationError("Say which text: \"…\", --file PATH, or --file - for stdin.")
    }
  }

  func run() throws {
    let tokenizer = try Tokenizer(atPath: path)
    if let decode { return try show(decode, tokenizer) }
    var encoded: [[Int]] = []
    for text in texts { encoded.append(tokenizer.encode(text, addingSpecialTokens: !noSpecial)) }
    for path in file {
      encoded.append(tokenizer.encode(utf8: try readWhole(path), addingSpecialTokens: !noSpecial))
    }
    report.print([
      "schema": 1, "path": .string(path),
      "texts": .array(encoded.map { json($0, tokenizer) }),
    ]) {
      for (index, numbers) in encoded.enumerated() {
        if ids {
          Terminal.print(numbers.map(String.init).joined(separator: " "))
        } else {
          if index > 0 { Terminal.print() }
          show(numbers, tokenizer)
        }
      }
    }
  }

  private func json(_ numbers: [Int], _ tokenizer: Tokenizer) -> JSON {
    var json: [(String, JSON)] = [("ids", .array(numbers.map { .integer($0) }))]
    if !ids { json.append(("pieces", .array(numbers.map { .string(tokenizer.escapedPiece($0)) }))) }
    return .object(json)
  }

  private func show(_ numbers: [Int], _ tokenizer: Tokenizer) {
    var table = Table([("id", .right), ("piece", .left), ("", .left)], isList: true)
    for number in numbers {
      table.add([
        "\(number)", "\"\(tokenizer.escapedPiece(number))\"", tokenizer.isSpecial(number) ? "special" : "",
      ])
    }
    for line in table.lines { Terminal.print(line) }
    Terminal.print("  \(numbers.count) token\(numbers.count == 1 ? "" : "s")")
  }

  private func show(_ list: String, _ tokenizer: Tokenizer) throws {
    let numbers = try list.split { $0 == "," || $0 == " " }.map { part in
      guard let number = Int(part), number >= 0 else {
        throw ValidationError("\"\(String(part).printable)\" is no number of a token.")
      }
      guard tokenizer.token(number) != nil else {
        throw TokenizerError(
          .numberWithoutToken, path: path, expected: "\(tokenizer.numberLimit - 1)", found: "\(number)")
      }
      return number
    }
    let text = tokenizer.decode(numbers, skippingSpecialTokens: noSpecial)
    report.print([
      "schema": 1, "path": .string(path), "ids": .array(numbers.map { .integer($0) }), "text": .string(text),
    ]) {
      Terminal.print(
        text.split(separator: "\n", omittingEmptySubsequences: false)
          .map { String($0).printable }.joined(separator: "\n"))
    }
  }
}

extension Tokenizer {
  /// Reads the tokenizer that a path leads to: of a bundle, of a directory, or the file itself.
  convenience init(atPath path: String) throws {
    let system = PosixFileSystem()
    if system.kind(path) == .directory {
      let file = path + (path.hasSuffix("/") ? "" : "/") + "tokenizer.json"
      guard system.kind(file) != nil else { throw TokenizerError(.noTokenizer, path: path) }
      try self.init(json: try readWhole(file), path: file)
    } else if path.hasSuffix(".json") {
      try self.init(json: try readWhole(path), path: path)
    } else {
      try self.init(bundle: try Bundle(path: path))
    }
  }

  /// What a token stands for, with what is no text shown as `\xE2`, and control characters made visible.
  func escapedPiece(_ number: Int) -> String {
    var rest = bytes(of: number)[...]
    var text = ""
    while !rest.isEmpty {
      let valid = String(decoding: rest, as: UTF8.self)
      if valid.utf8.elementsEqual(rest) { return text + valid.printable }
      // The longest beginning that is text, then one byte that is not.
      var end = rest.startIndex
      while end < rest.endIndex {
        let length = (1...4).first { length in
          end + length <= rest.endIndex && String(validating: rest[end..<end + length], as: UTF8.self) != nil
        }
        guard let length else { break }
        end += length
      }
      text += String(decoding: rest[..<end], as: UTF8.self).printable
      let hex = String(rest[end], radix: 16, uppercase: true)
      text += "\\x" + (hex.utf8.count == 1 ? "0" : "") + hex
      rest = rest[(end + 1)...]
    }
    return text
  }
}
