import LMoECore
import LMoEFormat

/// What a quantization did.
public struct QuantizationReport: Sendable {
  /// A tensor of a bank that changed.
  struct Tensor: Sendable {
    let bank: String
    let name: String
    let `class`: TensorClass
    let elements: Int
    let before: Entry
    let after: Entry?
    /// nil for one that stays as it is.
    let error: QuantizationError?
  }

  /// Tensors of one class.
  public struct Row: Sendable {
    /// The class.
    public let `class`: TensorClass
    /// Tensors.
    public private(set) var tensors = 0
    /// How many of them were converted.
    public private(set) var converted = 0
    /// Elements of all.
    public private(set) var elements = 0
    /// Bytes as they were stored.
    public private(set) var storedBefore: UInt64 = 0
    /// Bytes as they are stored now.
    public private(set) var storedAfter: UInt64 = 0
    /// Raw bytes before.
    public private(set) var rawBefore = 0
    /// Raw bytes now.
    public private(set) var rawAfter = 0
    /// Types before.
    public private(set) var typesBefore: [String] = []
    /// Types now.
    public private(set) var typesAfter: [String] = []
    /// How far the converted ones are from what they were.
    public private(set) var error = QuantizationError()

    /// Bits that an element took.
    public var bitsBefore: Double { elements > 0 ? 8 * Double(rawBefore) / Double(elements) : 0 }
    /// Bits that an element takes now.
    public var bitsAfter: Double { elements > 0 ? 8 * Double(rawAfter) / Double(elements) : 0 }

    init(_ class: TensorClass) { self.class = `class` }

    mutating func add(_ tensor: Tensor) {
      let after = tensor.after ?? tensor.before
      tensors += 1
      elements += tensor.elements
      storedBefore += tensor.before.storedBytes
      storedAfter += after.storedBytes
      rawBefore += tensor.before.type.rawBytes
      rawAfter += after.type.rawBytes
      let (old, new) = (tensor.before.type.dtypeName, after.type.dtypeName)
      if !typesBefore.contains(old) { typesBefore.append(old) }
      if !typesAfter.contains(new) { typesAfter.append(new) }
      if let error = tensor.error {
        converted += 1
        self.error.add(error)
      }
    }
  }

  /// The bundle that has the result.
  public let path: String
  /// Its generation.
  public let generation: UInt64
  /// Bytes that were written.
  public let addedBytes: UInt64
  let tensors: [Tensor]
  /// What the user should know.
  public let notes: [String]

  /// The classes that are there, and what became of them.
  public var rows: [Row] {
    TensorClass.allCases.compactMap { kind in
      var row = Row(kind)
      for tensor in tensors where tensor.class == kind { row.add(tensor) }
      return row.tensors > 0 ? row : nil
    }
  }

  /// The banks that changed.
  public var banks: [String] {
    var names: [String] = []
    for tensor in tensors where names.last != tensor.bank { names.append(tensor.bank) }
    return names
  }
}
