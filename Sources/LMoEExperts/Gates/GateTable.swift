import LMoECore
import LMoEFormat

/// Reads the names and shapes of a gate's tensors.
struct GateTable {
  private let gate: Gate
  private let base: BaseShapes?
  private let name: String
  private let path: String

  init(_ gate: Gate, base: BaseShapes?, name: String, path: String) {
    (self.gate, self.base, self.name, self.path) = (gate, base, name, path)
  }

  /// The rows that a manifest lists.
  ///
  /// - Throws: `ExpertError` with `invalid-gate`.
  func rows(_ manifest: Manifest) throws(ExpertError) -> [StoredGate.Row] {
    if !gate.isLearned, let tensor = manifest.tensors.first {
      throw invalid("a constant gate has no tensors, and it has \"\(tensor.name.shortened)\"")
    }
    var rows: [StoredGate.Row] = []
    rows.reserveCapacity(manifest.tensors.count)
    var lengths: [ByteKey: Int] = [:]
    for tensor in manifest.tensors {
      let row = try row(tensor)
      let shape = tensor.type.shape
      guard tensor.type.dtype == .f32, shape.count == 1, let length = shape.first,
        (gate.rowCount(width: 1)...gate.rowCount(width: StoredGate.largestWidth)).contains(length)
      else {
        throw invalid(
          "its tensor \"\(tensor.name.shortened)\" is \(tensor.type.dtype.name) of the shape \(shape), "
            + "and rows are vectors of F32")
      }
      let expected = lengths[row.place] ?? width(at: row.place.text).map(gate.rowCount) ?? length
      guard length == expected else {
        throw invalid(
          "its tensor \"\(tensor.name.shortened)\" has \(length) elements, and a row there has \(expected)")
      }
      lengths[row.place] = length
      rows.append(row)
    }
    return rows
  }

  /// The width of the input at a place; nil where the base does not tell.
  func width(at place: String) -> Int? {
    let shape = base?.shape((gate.scope == .module ? place : "model.embed_tokens") + ".weight")
    return shape?.count == 2 ? shape?.last : nil
  }

  /// Takes a name apart: an id in lower case, so that there is one spelling, and a place.
  private func row(_ tensor: Entry) throws(ExpertError) -> StoredGate.Row {
    let id = String(decoding: tensor.name.utf8.prefix(32), as: UTF8.self)
    guard let expert = Bits128(hexadecimal: id), expert.description.hasSameBytes(as: id),
      tensor.name.utf8.dropFirst(32).first == UInt8(ascii: "/")
    else {
      throw invalid("the name of its tensor \"\(tensor.name.shortened)\" does not begin with an expert's id")
    }
    let place = String(decoding: tensor.name.utf8.dropFirst(33), as: UTF8.self)
    guard gate.isPlace(place) else {
      throw invalid(
        "its tensor \"\(tensor.name.shortened)\" is for no place of a gate of scope \(gate.scope.rawValue)")
    }
    return StoredGate.Row(expert: expert, place: ByteKey(place), entry: tensor)
  }

  private func invalid(_ found: String) -> ExpertError {
    ExpertError(.invalidGate, path: path, name: name, found: found)
  }
}
