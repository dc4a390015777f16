extension JSON {
  /// Parses `bytes`, all of them, strictly (see `JSONCursor`).
  ///
  /// - Throws: `JSONError` with the offset.
  public init(parsing bytes: [UInt8], maximumDepth: Int = 64) throws(JSONError) {
    var cursor = JSONCursor(bytes, maximumDepth: maximumDepth)
    self = try cursor.value()
    try cursor.end()
  }
}

extension JSONCursor {
  /// Reads a value of any kind.
  public mutating func value() throws(JSONError) -> JSON {
    switch try kind() {
    case .object:
      try beginObject()
      var object = JSONObject()
      // The cursor has made sure that keys are unique.
      while let key = try nextKey() { object.append(key, try value()) }
      return .object(object)
    case .array:
      try beginArray()
      var elements: [JSON] = []
      while try nextElement() { elements.append(try value()) }
      return .array(elements)
    case .string: return .string(try string())
    case .number: return .number(try number())
    case .bool: return .bool(try bool())
    case .null:
      try null()
      return .null
    }
  }
}
