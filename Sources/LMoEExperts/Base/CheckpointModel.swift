import LMoECore
import LMoEFormat

/// What a checkpoint is: the model its configuration describes, and where everything is.
public struct CheckpointModel: Sendable {
  /// Where the weights are; `names.model` is the configuration.
  public let names: TensorNames
  /// Keys of `config.json` that this tool has never heard of and that look harmless.
  public let unknownKeys: [String]
  /// Where tokenizer, chat template and generation configuration are.
  public let tokenizer: TokenizerFiles
  /// What the user should know.
  public let notes: [String]

  /// Reads the configuration of `checkpoint` and finds every weight of the model in it.
  ///
  /// - Parameter ignoring: Keys of `config.json` that the user says change nothing.
  /// - Throws: `ExpertError` that names the key or tensor.
  init(_ checkpoint: HFCheckpoint, ignoring: Set<String>) throws {
    let path = checkpoint.path + "/config.json"
    var (model, unknown) = try ModelConfiguration.parse(
      checkpoint.configuration, path: path, ignoring: ignoring)
    var notes: [String] = []
    if model.tiesEmbeddings, try Self.hasHeadOfItsOwn(checkpoint) {
      // As transformers 5 has it: two different tensors are not tied, whatever the configuration says.
      model = model.untied
      notes.append(
        "config.json ties the head to the embedding, but the file has an lm_head.weight with other values; it is used, as transformers 5 does"
      )
    }
    names = try TensorNames(
      model, tensors: try checkpoint.weights().map { ($0.name, $0.type.shape) }, path: checkpoint.path)
    unknownKeys = unknown
    tokenizer = checkpoint.tokenizer
    if !tokenizer.hasTokenizer {
      notes.append("no tokenizer files: commands that need text will refuse this bundle")
    }
    self.notes = notes
  }

  /// Whether a tied checkpoint ships a head that differs from its embedding.
  private static func hasHeadOfItsOwn(_ checkpoint: HFCheckpoint) throws -> Bool {
    let all = checkpoint.tensors
    guard let head = all.first(where: { $0.tensor.name == "lm_head.weight" }),
      let embedding = all.first(where: {
        $0.tensor.name == "model.embed_tokens.weight" || $0.tensor.name == "embed_tokens.weight"
      }), head.tensor.type.shape == embedding.tensor.type.shape
    else { return false }
    guard head.tensor.type == embedding.tensor.type else { return true }
    return try !head.file.source(of: head.tensor).hasSameBytes(
      as: embedding.file.source(of: embedding.tensor), count: head.tensor.type.rawBytes)
  }
}

extension ModelConfiguration {
  /// The same model with a head of its own.
  var untied: ModelConfiguration {
    ModelConfiguration(
      family: family, hiddenSize: hiddenSize, intermediateSize: intermediateSize, layerCount: layerCount,
      headCount: headCount, keyValueHeadCount: keyValueHeadCount, headDimension: headDimension,
      vocabularySize: vocabularySize, maximumPositions: maximumPositions, normEpsilon: normEpsilon,
      rotary: rotary, slidingWindows: slidingWindows, biases: biases, tiesEmbeddings: false)
  }
}

extension ByteSource {
  /// Whether the first `count` bytes of both are the same.
  func hasSameBytes(as other: any ByteSource, count: Int) throws(FormatError) -> Bool {
    let window = 1 << 20
    let (left, right) = (RawBuffer(count: window), RawBuffer(count: window))
    var offset = 0
    while offset < count {
      let length = min(window, count - offset)
      let (mine, theirs) = unsafe (left.prefix(length), right.prefix(length))
      try unsafe read(into: mine, at: UInt64(offset))
      try unsafe other.read(into: theirs, at: UInt64(offset))
      guard unsafe mine.elementsEqual(theirs) else { return false }
      offset += length
    }
    return true
  }
}
