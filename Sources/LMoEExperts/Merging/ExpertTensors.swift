import LMoECore
import LMoEFormat

/// The tensors of an expert, wherever they are.
protocol ExpertTensors: Sendable {
  /// The values of tensors as float32, all of them finite.
  ///
  /// - Throws: `ExpertError` with `non-finite`, `FormatError`.
  func floats(_ names: [String], on pool: WorkerPool) throws -> [[Float]]

  /// The type of a tensor; nil where there is none of that name.
  func type(of name: String) -> TensorType?
}

/// Those of an expert in a bundle.
struct BankTensors: ExpertTensors {
  private let expert: StoredExpert

  init(_ expert: StoredExpert) { self.expert = expert }

  func type(of name: String) -> TensorType? { expert.manifest.tensor(name)?.type }

  func floats(_ names: [String], on pool: WorkerPool) throws -> [[Float]] {
    let entries = try names.map { name in
      guard let entry = expert.manifest.tensor(name) else {
        throw ExpertError(.invalidExpert, path: expert.path, found: "it has no tensor \(name)")
      }
      return BankedEntry(bank: expert.bank.name, entry: entry)
    }
    let values = try expert.bundle.floats(of: entries, on: pool)
    for (name, values) in zip(names, values) { try values.requireFinite(name, path: expert.path) }
    return values
  }
}

/// Those of a safetensors file.
struct FileTensors: ExpertTensors {
  private let file: SafetensorsFile
  private let places: [ByteKey: Int]

  init(_ file: SafetensorsFile) {
    self.file = file
    places = Dictionary(
      file.tensors.enumerated().map { (ByteKey($1.name), $0) }, uniquingKeysWith: { first, _ in first })
  }

  func type(of name: String) -> TensorType? { places[ByteKey(name)].map { file.tensors[$0].type } }

  func floats(_ names: [String], on pool: WorkerPool) throws -> [[Float]] {
    let results = Guarded([[Float]](repeating: [], count: names.count))
    try OrderedJobs<FormatError>.run(count: names.count, on: pool) { [self] (turn) throws(FormatError) in
      guard let place = places[ByteKey(names[turn.index])] else { return }
      let tensor = file.tensors[place]
      guard FloatValues(tensor.type) != nil else {
        throw FormatError(
          .unsupportedDType, path: file.path, entry: tensor.name, found: tensor.type.dtype.name)
      }
      do throws(FormatError) {
        let values = try file.source(of: tensor).floats(tensor.type)
        results.withValue { $0[turn.index] = values }
      } catch { throw error.at(path: file.path, entry: tensor.name) }
    }
    let values = results.withValue { $0 }
    for (name, values) in zip(names, values) { try values.requireFinite(name, path: file.path) }
    return values
  }
}

extension [Float] {
  /// Makes sure that every value is a number.
  func requireFinite(_ name: String, path: String) throws {
    guard unsafe !withUnsafeBytes({ unsafe Self.reader?.sumOfSquares($0).isFinite ?? true }) else { return }
    if let first = firstIndex(where: { !$0.isFinite }) {
      throw ExpertError(.nonFinite, path: path, name: name, found: "\(first)")
    }
  }

  private static let reader = FloatValues(.f32)
}
