import LMoECore
import LMoEFormat

/// What tensors can be quantized to.
public enum QuantizedType: String, CaseIterable, Hashable, Sendable {
  case q8_0
  case q6K = "q6_k"
  case q4K = "q4_k"
  case q4_0
  case nf4
  case i8
  case i4Group32 = "i4-32"
  case i4Group64 = "i4-64"
  case i4Group128 = "i4-128"

  /// The registry's name of the scheme, with the group's size where there are several.
  public var name: String {
    switch self {
    case .q8_0: BlockScheme.q8_0.name
    case .q6K: BlockScheme.q6K.name
    case .q4K: BlockScheme.q4K.name
    case .q4_0: BlockScheme.q4_0.name
    case .nf4: BlockScheme.nf4.name
    case .i8: BlockScheme.i8Row.name
    case .i4Group32: BlockScheme.i4Group.name + " of 32"
    case .i4Group64: BlockScheme.i4Group.name + " of 64"
    case .i4Group128: BlockScheme.i4Group.name + " of 128"
    }
  }

  /// The blocks for rows of `columns` elements.
  func geometry(columns: Int) -> BlockGeometry? {
    switch self {
    case .q8_0: .q8_0
    case .q6K: .q6K
    case .q4K: .q4K
    case .q4_0: .q4_0
    case .nf4: .nf4
    case .i8: .i8Row(columns)
    case .i4Group32: .i4Group(32)
    case .i4Group64: .i4Group(64)
    case .i4Group128: .i4Group(128)
    }
  }

  /// The type of a matrix of that shape in such blocks; nil if its rows are not whole blocks, or it is none.
  func type(of shape: [Int]) -> TensorType? {
    guard shape.count >= 2, let columns = shape.last, !shape.contains(0),
      let geometry = geometry(columns: columns)
    else { return nil }
    return TensorType(dtype: .block, geometry: geometry, shape: shape.map { UInt64($0) })
  }

  /// Bits that an element keeps of its value: types of equal bits are not made of each other.
  var bits: Int {
    switch self {
    case .q8_0, .i8: 8
    case .q6K: 6
    default: 4
    }
  }

  /// Whether each error can be weighed by how much it matters.
  public var takesImportance: Bool {
    switch self {
    case .i4Group32, .i4Group64, .i4Group128: true
    default: false
    }
  }
}

extension BlockScheme {
  /// Bits that an element keeps of its value.
  var bits: Int {
    switch self {
    case .q8_0, .i8Row: 8
    case .q6K: 6
    case .q4_0, .q4K, .nf4, .i4Group: 4
    }
  }
}
