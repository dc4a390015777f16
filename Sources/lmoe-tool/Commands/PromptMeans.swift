import ArgumentParser
import LMoECore
import LMoEExperts
import LMoEFormat
import LMoERuntime

/// Texts of the kind that an expert is for, from one file.
struct PromptText {
  /// The expert's id.
  let expert: Bits128
  /// The texts: all of a plain file, or those of its lines of JSON.
  let texts: [TextDocument]
  /// The file's name, without its directory.
  let file: String
  private let bytes: [UInt8]

  /// The largest file.
  private static let largest: UInt64 = 64 << 20

  /// Reads the file that an argument names.
  ///
  /// - Throws: `no-such-bank`, `FileError`, `ExpertError` with `invalid-text`, `RuntimeError` with `invalid-data`.
  init(_ argument: ExpertArgument, in bundle: Bundle) throws {
    expert = try bundle.bank("expert/" + argument.name).id
    file = Import.lastComponent(argument.directory)
    let handle = try PosixFileSystem().open(argument.directory, .read)
    let size = try handle.size()
    guard size > 0, size <= Self.largest else {
      throw ExpertError(
        .invalidText, path: argument.directory,
        found: size == 0 ? "it is empty" : "it has \(size) bytes, and \(Self.largest) is the most")
    }
    bytes = try handle.bytes(at: 0, count: Int(size))
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw ExpertError(.invalidText, path: argument.directory, found: "it is not UTF-8")
    }
    let chat = ChatForm(bundle: bundle)
    texts = try TextData(domain: argument.name, path: argument.directory, bytes: bytes, chat: chat).documents
  }

  /// What the gate's card says of it.
  var json: JSON {
    [
      "expert": .string(expert.description), "file": .string(file), "bytes": .integer(bytes.count),
      "hash": .string(Checksum.hash128(bytes).description),
    ]
  }
}

/// What a gate of `scope` sees at each place, in the mean over the tokens of each expert's texts.
///
/// The bare base reads them. It sees the input of each linear layer (module), the output of the first norm of
/// each layer (layer), or the token's row of the embedding (global).
///
/// - Parameters:
///   - bundle: The bundle.
///   - base: Where the weights of a base are that is not in the file.
///   - scope: The scope of the gate.
///   - texts: The texts, one or more for an expert.
/// - Returns: Expert → place → mean.
func promptMeans(
  _ bundle: Bundle, base: String?, scope: Gate.Scope, texts: [PromptText]
) throws -> [Bits128: [ByteKey: [Float]]] {
  let model = try Model(LoadedBase(bundle, at: base))
  let coding = TextCoding(try Tokenizer(bundle: bundle))
  let positions = model.configuration.maximumPositions
  var result: [Bits128: [ByteKey: [Float]]] = [:]
  for (expert, texts) in Dictionary(grouping: texts, by: \.expert) {
    let means = InputMeans(scope: scope)
    for text in texts.flatMap(\.texts) {
      let tokens = coding.sample(text).tokens
      // A text longer than the context is read in parts, each from its own beginning.
      for start in stride(from: 0, to: tokens.count, by: positions) {
        let part = Array(tokens[start..<min(start + positions, tokens.count)])
        try model.forward([Model.Segment(part, model.makeCache(capacity: part.count))], means: means) { _ in }
      }
    }
    result[expert] = means.means
  }
  return result
}
