/// What a pickle of tensors is made of; nothing else comes out of one.
indirect enum PickleValue {
  /// Where a list of arguments begins.
  case mark
  case none
  case bool(Bool)
  case integer(Int)
  case number(Double)
  case text(String)
  case tuple([PickleValue])
  case list([PickleValue])
  /// Keys and values in order.
  case dictionary([(key: PickleValue, value: PickleValue)])
  /// A class or function, one of those that are known.
  case global(Global)
  /// The bytes that tensors are views of.
  case storage(Storage)
  case tensor(Tensor)

  /// Names that a pickle of tensors uses; none of them is called.
  enum Global: Hashable {
    case orderedDictionary
    case rebuildTensor
    case rebuildParameter
    case storageType(DType)

    /// The name in a pickle: module and name.
    init?(_ module: String, _ name: String) {
      switch (module, name) {
      case ("collections", "OrderedDict"): self = .orderedDictionary
      case ("torch._utils", "_rebuild_tensor_v2"): self = .rebuildTensor
      case ("torch._utils", "_rebuild_parameter"): self = .rebuildParameter
      case ("torch", "DoubleStorage"): self = .storageType(.f64)
      case ("torch", "FloatStorage"): self = .storageType(.f32)
      case ("torch", "HalfStorage"): self = .storageType(.f16)
      case ("torch", "BFloat16Storage"): self = .storageType(.bf16)
      case ("torch", "LongStorage"): self = .storageType(.i64)
      case ("torch", "IntStorage"): self = .storageType(.i32)
      case ("torch", "ShortStorage"): self = .storageType(.i16)
      case ("torch", "CharStorage"): self = .storageType(.i8)
      case ("torch", "ByteStorage"): self = .storageType(.u8)
      case ("torch", "BoolStorage"): self = .storageType(.bool)
      default: return nil
      }
    }
  }

  /// A file of the archive that holds elements of one type.
  struct Storage {
    let dtype: DType
    let key: String
    let count: Int
  }

  /// A view of a storage.
  struct Tensor {
    let storage: Storage
    let offset: Int
    let shape: [Int]
    let strides: [Int]
  }

  var integer: Int? {
    guard case .integer(let value) = self else { return nil }
    return value
  }

  var text: String? {
    guard case .text(let value) = self else { return nil }
    return value
  }

  var items: [PickleValue]? {
    switch self {
    case .tuple(let items), .list(let items): items
    default: nil
    }
  }
}
